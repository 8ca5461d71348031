"""What a service has sent, one file a galaxy, so that it is never asked twice for the same picture.

Each file carries a seal, a comment in its header that no viewer minds: a digest of the request it answers and a digest
of all its other bytes. A file that the disk has damaged, or that shows a galaxy at another scale, is known by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import refuse_other_inputs
from skymetal.catalogs.storage import LocalFolder, digest
from skymetal.engine.sources.pictures import Unsuitable

REQUEST = "request.json"
_SEAL = re.compile(rb"skymetal ([0-9a-f]{24}) ([0-9a-f]{24})")
_SEAL_BYTES = 58
_MAX_HEADER_BYTES = 1 << 18
_CARD_BYTES, _BLOCK_BYTES = 80, 2880


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """A folder of files named ``{last three digits of object_id}/{object_id}.{ending}``; ending is jpg or fits."""

    folder: LocalFolder
    ending: str

    def name(self, object_id: int) -> str:
        """Return the name of a galaxy's file; a thousand folders keep each of them small."""
        return f"{abs(object_id) % 1000:03d}/{object_id}.{self.ending}"

    def path(self, object_id: int) -> Path:
        """Return the path of a galaxy's file."""
        return self.folder.path / self.name(object_id)

    def claim(self, request: Mapping[str, Any]) -> None:
        """Record what all the pictures have in common; raise InputError where those in the folder differ.

        Where there is no picture yet the record of an earlier job binds nobody, and is replaced.
        """
        record = json.dumps(request, sort_keys=True, indent=1).encode()
        try:
            if self.folder.put_if_absent(REQUEST, record):
                return
            if next(self.folder.path.glob(f"*/*.{self.ending}"), None) is None:
                self.folder.write(REQUEST, record)
                return
            before = json.loads(self.folder.read(REQUEST))
        except OSError as error:
            raise InputError(
                f"[images] folder {self.folder} cannot keep downloads ({error.strerror or error}); name another"
            ) from error
        except (ValueError, RecursionError) as error:
            raise RuntimeError(f"{self.folder}/{REQUEST} is damaged; delete the folder, or name another") from error
        refuse_other_inputs(
            before,
            request,
            where=f"{self.folder} holds pictures asked for",
            remedy="name another [images] folder",
        )

    def read(self, object_id: int, url: str, *, max_bytes: int) -> bytes | None:
        """Return the file that answers this very request, whole and undamaged; None where there is none."""
        try:
            data = self.folder.read(self.name(object_id), max_bytes=max_bytes + _BLOCK_BYTES)
        except OSError:
            return None
        seal = _SEAL.search(data, 0, _MAX_HEADER_BYTES)
        return data if seal and seal[0] == _make_seal(data[: seal.start()] + data[seal.end() :], url) else None

    def write(self, object_id: int, url: str, data: bytes) -> bytes:
        """Keep an answer; return it with its seal, as it was written. Raises Unsuitable where there is no place."""
        place = _place_in_fits if self.ending == "fits" else _place_in_jpeg
        before, after = place(data)
        sealed = before + _make_seal(before + after, url) + after
        self.folder.write(self.name(object_id), sealed)
        return sealed


def _make_seal(others: bytes, url: str) -> bytes:
    return f"skymetal {digest(url.encode())[:24]} {digest(others)[:24]}".encode("ascii")


def _place_in_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after the seal: a comment segment behind the start marker."""
    return data[:2] + b"\xff\xfe" + (_SEAL_BYTES + 2).to_bytes(2, "big"), data[2:]


def _place_in_fits(data: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after the seal: a comment card, the last one of the first header."""
    cards = [data[at : at + _CARD_BYTES] for at in range(0, min(len(data), _MAX_HEADER_BYTES), _CARD_BYTES)]
    end = next((number for number, card in enumerate(cards) if card.rstrip() == b"END"), None)
    if end is None:
        raise Unsuitable(f"unusual header: no END card in its first {_MAX_HEADER_BYTES >> 10} KiB")
    rest = data[-(-(end + 1) * _CARD_BYTES // _BLOCK_BYTES) * _BLOCK_BYTES :]
    # CHECKSUM covers the header, which is about to change; DATASUM stays true.
    before = b"".join(card for card in cards[:end] if not card.startswith(b"CHECKSUM=")) + b"COMMENT "
    filler = b" " * (_CARD_BYTES - len(b"COMMENT ") - _SEAL_BYTES)
    length = len(before) + _SEAL_BYTES + len(filler) + _CARD_BYTES
    padding = b" " * (-length % _BLOCK_BYTES)
    return before, filler + b"END".ljust(_CARD_BYTES) + padding + rest
