from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.sources.downloads import Downloads
from skymetal.engine.sources.pictures import Unsuitable

pytestmark = pytest.mark.timeout(10)
URL = "https://x.org/?ra=1"


def make_fits(num_cards: int) -> bytes:
    header = fits.Header({f"KEY{number}": number for number in range(num_cards)})
    buffer = io.BytesIO()
    image = fits.PrimaryHDU(np.arange(48, dtype=np.float32).reshape(3, 4, 4), header)
    fits.HDUList([image, fits.ImageHDU(np.ones((2, 2)))]).writeto(buffer, checksum=True)
    return buffer.getvalue()


@pytest.mark.parametrize("num_cards", range(22, 32))
def test_a_sealed_fits_file_is_the_same_file_with_a_comment(tmp_path: Path, num_cards: int) -> None:
    """However full the header's last block is."""
    kept = Downloads(folder=LocalFolder(tmp_path), ending="fits")
    original = make_fits(num_cards)
    sealed = kept.write(1234, URL, original)
    assert kept.read(1234, URL, max_bytes=1 << 20) == sealed == (tmp_path / "234" / "1234.fits").read_bytes()
    assert len(sealed) % 2880 == 0
    with fits.open(io.BytesIO(original)) as before, fits.open(io.BytesIO(sealed), checksum=True) as after:
        after.verify("exception")
        assert len(after) == 2
        for old, new in zip(before, after, strict=True):
            assert np.array_equal(old.data, new.data)
        cards = [card.image for card in before[0].header.cards if card.keyword != "CHECKSUM"]
        assert [card.image for card in after[0].header.cards][:-1] == cards


def test_a_seal_holds_the_request_and_every_byte(tmp_path: Path) -> None:
    kept = Downloads(folder=LocalFolder(tmp_path), ending="fits")
    sealed = kept.write(7, URL, make_fits(0))
    path = tmp_path / "007" / "7.fits"
    assert kept.read(7, URL + "0", max_bytes=1 << 20) is None
    assert kept.read(7, URL, max_bytes=100) is None
    assert kept.read(8, URL, max_bytes=1 << 20) is None
    for at in range(0, len(sealed), 97):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert kept.read(7, URL, max_bytes=1 << 20) is None, at
    path.write_bytes(sealed)
    assert kept.read(7, URL, max_bytes=1 << 20) == sealed


def test_what_has_no_header_cannot_be_sealed(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="unusual header: no END card in its first 256 KiB"):
        Downloads(folder=LocalFolder(tmp_path), ending="fits").write(7, URL, b"SIMPLE  = " + bytes(2870))


def test_another_request_may_begin_where_no_picture_is_yet(tmp_path: Path) -> None:
    kept = Downloads(folder=LocalFolder(tmp_path), ending="fits")
    kept.claim({"layer": "ls-dr01"})
    kept.claim({"layer": "ls-dr10"})
    kept.write(7, URL, make_fits(0))
    kept.claim({"layer": "ls-dr10"})
    with pytest.raises(
        InputError, match='asked for with layer = "ls-dr10", but this job has layer = "ls-dr9"; name an'
    ):
        kept.claim({"layer": "ls-dr9"})
