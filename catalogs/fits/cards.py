"""One FITS header: its 80-character cards, read strictly, before any library trusts what they claim."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

BLOCK = 2880
CARD = 80
MAX_HEADER_BYTES = 1 << 20
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?")
_STRING = re.compile(r"'((?:[^']|'')*)'")
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|Z?(BITPIX|NAXIS\d*|PCOUNT|GCOUNT)|GROUPS|TFIELDS|T(FORM|TYPE)\d+|BSCALE|BZERO|BLANK|"
    r"Z(IMAGE|CMPTYPE|TILE\d+|NAME\d+|VAL\d+|SCALE|ZERO|BLANK|QUANTIZ)"
)
"""Keywords that say how the data are to be read. Given twice, two readers could see two different files."""


class FitsError(ValueError):
    """A file that is not FITS, or not of a form that is safe to decode. Its text is a short clause in lower case."""


def read_header(file: BinaryIO, *, where: str) -> bytes:
    """Return one header, from the file's position to the end of the block that holds END."""
    header = bytearray()
    while len(header) < MAX_HEADER_BYTES:
        block = file.read(BLOCK)
        if not header and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise FitsError(f"not FITS: {where} does not begin with SIMPLE or XTENSION")
        if len(block) < BLOCK:
            raise FitsError(f"truncated header: the file ends before the END card of {where}")
        header += block
        for start in range(0, BLOCK, CARD):
            card = block[start : start + CARD]
            if not (card.isascii() and card.decode().isprintable()):
                raise FitsError(f"bad header: a card of {where} holds bytes that are not printable ASCII")
            if card.rstrip() == b"END":
                return bytes(header)
    raise FitsError(f"no END: the header of {where} is longer than {MAX_HEADER_BYTES} bytes")


def parse_cards(header: bytes) -> dict[str, Any]:
    """Return the values by keyword; of a repeated one the first.

    Values are bool, int, float, str, or None where there is none; what is not of the standard's form is kept as its
    text. Raises FitsError where a keyword that says how to read the data stands twice.
    """
    cards: dict[str, Any] = {}
    last = ""
    for start in range(0, len(header), CARD):
        card = header[start : start + CARD].decode("ascii")
        keyword = card[:8].rstrip()
        if keyword == "END":
            break
        if keyword == "CONTINUE" and isinstance(cards.get(last), str):
            more = _value(card[8:].strip())
            cards[last] = cards[last].removesuffix("&") + (more if isinstance(more, str) else "")
        if card[8:10] != "= " or keyword in ("COMMENT", "HISTORY", "", "CONTINUE"):
            continue
        last = keyword
        if keyword in cards:
            if _STRUCTURE.fullmatch(keyword):
                raise FitsError(f"bad header: {keyword} stands twice")
            continue
        cards[keyword] = _value(card[10:].strip())
    return cards


def _value(text: str) -> Any:
    if string := _STRING.match(text):
        return string[1].replace("''", "'").rstrip()
    text = text.split("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text.upper().replace("D", "E"))
    return text or None
