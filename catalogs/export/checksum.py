"""The checksums of a FITS file (FITS 4.0, section 4.4.2.7 and appendix J)."""

from __future__ import annotations

import numpy as np

_ALL_ONES = 0xFFFFFFFF
_PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")
_ZERO = ord("0")


class OnesSum:
    """The 32-bit ones' complement sum of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._total = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Add bytes; they go on where the last ones ended."""
        data = self._rest + data
        whole = len(data) // 4 * 4
        self._total += int(np.frombuffer(data, ">u4", whole // 4).sum(dtype=np.uint64))
        self._rest = data[whole:]

    @property
    def value(self) -> int:
        """The sum so far, as if zeros followed."""
        total = self._total + int.from_bytes(self._rest.ljust(4, b"\0"), "big")
        while total > _ALL_ONES:
            total = (total & _ALL_ONES) + (total >> 32)
        return total


def encode_checksum(total: int) -> str:
    """Return the 16 characters that bring a sum of ``total`` to all ones, in place of sixteen zeros."""
    letters = bytearray(16)
    for place, byte in enumerate((_ALL_ONES - total).to_bytes(4, "big")):
        quarters = [byte // 4 + _ZERO] * 4
        quarters[0] += byte % 4
        for first in (0, 2):
            while quarters[first] in _PUNCTUATION or quarters[first + 1] in _PUNCTUATION:
                quarters[first] += 1
                quarters[first + 1] -= 1
        letters[place::4] = bytes(quarters)
    return (letters[-1:] + letters[:-1]).decode()  # a card's value starts at byte 11, one before a whole word
