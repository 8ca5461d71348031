"""The bits of the ``flags`` column: what a reader should know about a galaxy's image. 0 is clean."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """One bit a doubt. BLANK, CONSTANT and MISSING_BAND stand only in the store: such galaxies are quarantined."""

    SATURATED = 1
    LOW_ENTROPY = 2
    BLANK = 4
    CONSTANT = 8
    MISSING_BAND = 16
    EDGE = 32
    PADDED = 64
    BAD_PIXELS = 128
    SIZE_OUT = 256
    COLOUR_OUT = 512
    NEIGHBOUR = 1024
    SCORE_OOD = 2048
    TEXTURE_OUT = 4096


MEANINGS = {
    Flag.SATURATED: "more than 1 % of the pixels are at the top of their range in some band",
    Flag.LOW_ENTROPY: "the grey levels carry less than 1 bit of entropy a pixel: hardly any signal",
    Flag.BLANK: "no pixel has any data (quarantined)",
    Flag.CONSTANT: "all pixels are alike (quarantined)",
    Flag.MISSING_BAND: "some band has no data (quarantined)",
    Flag.EDGE: "the cutout reaches beyond the edge of the survey image it was cut from",
    Flag.PADDED: "pixels without data were filled with 0",
    Flag.BAD_PIXELS: "more than 1 % of the pixels inside the survey image have no data in some band",
    Flag.SIZE_OUT: "the light is more, or less, concentrated than that of 99 % of the ensemble's own galaxies",
    Flag.COLOUR_OUT: "a colour or the chroma of the image is outside the range of 99 % of the ensemble's own galaxies",
    Flag.TEXTURE_OUT: "neighbouring pixels differ more, or less, than in 99 % of the ensemble's own galaxies",
    Flag.NEIGHBOUR: "another target lies within 2 arcsec: the cutout shows the light of both",
    Flag.SCORE_OOD: "ood_score is above 1: 99 % of the ensemble's own galaxies, held out, lie nearer",
}


def describe_flags() -> str:
    """Return the meaning of every bit in one line, for the catalogue's metadata."""
    return "; ".join(f"{flag.value} {flag.name}: {meaning}" for flag, meaning in MEANINGS.items())


def decode_flags(value: int) -> tuple[str, ...]:
    """Return the names of the bits that are set, the lowest first; a bit without a name is its number.

    Raises ValueError for a negative value, which is no mask.
    """
    if value < 0:
        raise ValueError(f"flags are a bit mask, got {value}")
    bits = [1 << place for place in range(value.bit_length()) if value >> place & 1]
    names = {flag.value: str(flag.name) for flag in Flag}
    return tuple(names.get(bit, str(bit)) for bit in bits)
