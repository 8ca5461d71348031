"""How many of a pass's rows lie before a place on the sky, told by the receipts and a few of the parts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.parts import read_keys
from skymetal.catalogs.publishing.edition import Edition

_PARTS_HELD = 8


class Ranks:
    """Counts rows by their sort key. Of parts wholly before or after a place only the receipts are looked at."""

    def __init__(self, edition: Edition) -> None:
        receipts = [receipt for receipt in edition.manifest.receipts if receipt.num_rows]
        self._last_P = np.array([receipt.last_key for receipt in receipts], np.int64)
        self._first_P = np.array([receipt.first_key for receipt in receipts], np.int64)
        self._before_P = np.cumsum([0, *(receipt.num_rows for receipt in receipts)])

        @lru_cache(maxsize=_PARTS_HELD)  # the places that are asked for go along the sky
        def keys(place: int) -> NDArray[np.int64]:
            return read_keys(edition.parts, receipts[place], edition.sort_key)

        self._keys = keys

    def __call__(self, key: int) -> int:
        """Return how many rows have a key below this one."""
        place = int(np.searchsorted(self._last_P, key))  # the first part that does not end below it
        before = int(self._before_P[place])
        if place < len(self._last_P) and self._first_P[place] < key:
            before += int(np.searchsorted(self._keys(place), key))
        return before
