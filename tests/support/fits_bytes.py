"""FITS files made by hand, so that they can be wrong in any way."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray


def header_bytes(cards: dict[str, Any] | list[tuple[str, Any]], *, end: bool = True) -> bytes:
    """Return a header block; a str value stands as it is given, quotes and all."""
    pairs = cards.items() if isinstance(cards, dict) else cards
    text = "".join(f"{name:8}= {_text(value):>20}".ljust(80) for name, value in pairs)
    text += "END".ljust(80) if end else ""
    return text.ljust(-(-len(text) // 2880) * 2880).encode("latin-1")


def _text(value: Any) -> str:
    return {True: "T", False: "F"}[value] if isinstance(value, bool) else str(value)


def padded(data: bytes) -> bytes:
    """Return data filled up to whole blocks."""
    return data + bytes(-len(data) % 2880)


def image_cards(shape: tuple[int, ...], *, bitpix: int = -32, **more: Any) -> dict[str, Any]:
    """Return the cards of a primary image; shape is numpy's. Entries of more that are there already are replaced."""
    axes = {f"NAXIS{axis + 1}": length for axis, length in enumerate(shape[::-1])}
    return {"SIMPLE": True, "BITPIX": bitpix, "NAXIS": len(shape)} | axes | more


def image_bytes(pixels: NDArray[Any], **more: Any) -> bytes:
    """Return a file with one float32 image."""
    return header_bytes(image_cards(pixels.shape, **more)) + padded(pixels.astype(">f4").tobytes())


def sky_cards(
    *, ra: float, dec: float, x: float, y: float, scale_arcsec: float, turn_deg: float = 0.0
) -> dict[str, Any]:
    """Return a TAN WCS with (ra, dec) at pixel (x, y), counted from 1; north is turn_deg to the left of up."""
    step, turn = scale_arcsec / 3600, np.radians(turn_deg)
    return {
        "CTYPE1": "'RA---TAN'",
        "CTYPE2": "'DEC--TAN'",
        "CRVAL1": repr(float(ra)),
        "CRVAL2": repr(float(dec)),
        "CRPIX1": repr(float(x)),
        "CRPIX2": repr(float(y)),
        "CD1_1": f"{-step * np.cos(turn):.13E}",
        "CD1_2": f"{-step * np.sin(turn):.13E}",
        "CD2_1": f"{-step * np.sin(turn):.13E}",
        "CD2_2": f"{step * np.cos(turn):.13E}",
    }


def written(*hdus: Any, primary: Any = None, **settings: Any) -> bytes:
    """Return a file that astropy wrote, with a primary HDU before the others, empty where none is given."""
    buffer = io.BytesIO()
    fits.HDUList([primary or fits.PrimaryHDU(), *hdus]).writeto(buffer, **settings)
    return buffer.getvalue()


def compressed(kind: str = "RICE_1", shape: tuple[int, int] = (20, 30)) -> bytes:
    """Return a file with one image in compressed tiles, of one row each."""
    pixels = np.random.default_rng(0).integers(0, 100, shape).astype(np.int16)
    return written(fits.CompImageHDU(pixels, compression_type=kind))


def with_card(data: bytes, name: str, value: str) -> bytes:
    """Return a file in which the first card of this name has another value."""
    at = data.index(f"{name:8}= ".encode())
    return data[:at] + f"{name:8}= {value:>20}".ljust(80).encode("latin-1") + data[at + 80 :]
