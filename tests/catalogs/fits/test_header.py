from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from support.fits_bytes import compressed, header_bytes, image_bytes, written
from support.fits_faults import FAULTS

from skymetal.catalogs.fits.cards import FitsError, parse_cards
from skymetal.catalogs.fits.header import Hdu, first_image, walk_hdus
from skymetal.catalogs.fits.plain_file import file_size, open_plain, open_stream

pytestmark = pytest.mark.timeout(30)


def walk(data: bytes) -> list[Hdu]:
    return walk_hdus(io.BytesIO(data), size=len(data))


def test_a_file_of_every_kind_of_hdu_is_walked_as_astropy_reads_it(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("id", "K", array=np.arange(50))], name="rows")
    image = fits.ImageHDU(np.zeros((3, 5, 7), np.float64), name="g")
    path = tmp_path / "all.fits"
    path.write_bytes(written(table, image, fits.CompImageHDU(np.ones((9, 11), np.int32))))
    with open_plain(path) as file:
        hdus = walk_hdus(file, size=file_size(file))
    with fits.open(path, disable_image_compression=True) as theirs:
        assert [hdu.data_start for hdu in hdus] == [hdu.fileinfo()["datLoc"] for hdu in theirs]
        assert [hdu.name or "PRIMARY" for hdu in hdus] == [hdu.name for hdu in theirs]
        for hdu, other in zip(hdus, theirs, strict=True):
            ours = {name: value for name, value in hdu.cards.items() if name not in ("COMMENT", "HISTORY")}
            assert ours == {name: other.header[name] for name in ours}
    assert [hdu.is_image for hdu in hdus] == [False, False, True, False]
    assert [hdu.is_table for hdu in hdus] == [False, True, False, False]
    assert [hdu.is_compressed_image for hdu in hdus] == [False, False, False, True]
    assert hdus[2].shape == (3, 5, 7)
    assert hdus[3].shape == (9, 11)


def test_values_are_read_by_their_kind() -> None:
    values = {
        "A": "'it''s  '",
        "B": "T",
        "C": "-12 / a comment",
        "D": "1.5D-3",
        "E": "",
        "F": "NaN",
        "G": "'a / b'",
        "H": "9" * 30,
    }
    cards = parse_cards(header_bytes(values))
    assert cards == {
        "A": "it's",
        "B": True,
        "C": -12,
        "D": 0.0015,
        "E": None,
        "F": "NaN",
        "G": "a / b",
        "H": int("9" * 30),
    }


def test_a_long_string_is_put_together() -> None:
    header = fits.Header()
    header["LONG"] = "word " * 40
    assert parse_cards(header.tostring().encode())["LONG"] == ("word " * 40).strip()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_false_claim_is_refused_at_once(fault: str) -> None:
    data, reason = FAULTS[fault]
    start = time.monotonic()
    with pytest.raises(FitsError, match=re.escape(reason)) as error:
        walk(data)
    assert time.monotonic() - start < 1
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 150


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_the_compressions_of_surveys_are_let_through(kind: str) -> None:
    assert walk(compressed(kind))[1].shape == (20, 30)


def test_what_fills_a_tape_after_the_last_hdu_is_no_error() -> None:
    assert len(walk(image_bytes(np.ones((2, 2))) + bytes(28800))) == 1
    assert len(walk(image_bytes(np.ones((2, 2)))[: 2880 + 16])) == 1


def test_random_damage_is_refused_or_harmless() -> None:
    chance = random.Random(3)
    clean = compressed()
    outcomes = set()
    for _ in range(400):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(8640)] ^= 1 << chance.randrange(8)
        try:
            hdus = walk(bytes(data))
            outcomes.add(all(hdu.data_start + hdu.data_bytes <= len(data) for hdu in hdus))
        except FitsError:
            outcomes.add("refused")
    assert outcomes == {True, "refused"}


def test_whatever_the_bytes_are_nothing_but_a_refusal_is_raised() -> None:
    chance = random.Random(5)
    signs = b"0123456789 =-+'/&TFEDAJKPZNXISCLB(.,)"
    clean = written(fits.ImageHDU(np.ones((4, 4))), fits.CompImageHDU(np.random.default_rng(0).random((32, 32))))
    clean = written(fits.BinTableHDU.from_columns([fits.Column("id", "K", array=np.arange(50))])) + clean[2880:]
    starts = [hdu.data_start for hdu in walk(clean)]
    reasons = []
    for _ in range(6000):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 5)):
            end = chance.choice(starts)
            card = end - 80 * chance.randint(1, 36)
            match chance.randrange(5):
                case 0:
                    data[card + chance.randrange(80)] = chance.choice(signs)
                case 1:
                    value = bytes(chance.choices(signs[:12] + b".E'TF", k=chance.randint(1, 70)))
                    data[card + 10 : card + 10 + len(value)] = value
                case 2:
                    data[card : card + 8] = bytes(data[end - 2880 : end - 2872])
                case 3:
                    data[end - 2880 : end] = data[end - 2880 : end].replace(b"= ", chance.choice((b"=T", b"=  ")))[
                        :2880
                    ]
                case 4:
                    del data[card : card + 80]
        try:
            walk(bytes(data))
        except FitsError as error:
            reasons.append(str(error))
    assert 1000 < len(reasons) < 6000
    assert all(reason.isprintable() for reason in reasons)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, bytes])
def test_a_file_is_unfolded_by_what_it_is_not_by_its_name(tmp_path: Path, pack: Any) -> None:
    data = image_bytes(np.ones((30, 30)))
    (tmp_path / "image.txt").write_bytes(pack(data))
    with open_plain(tmp_path / "image.txt") as file:
        assert file.read() == data
    with open_stream(tmp_path / "image.txt") as file:
        assert first_image(file).shape == (30, 30)


def test_a_gzip_bomb_is_stopped_early(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(100 << 20), 1)
    (tmp_path / "bomb.gz").write_bytes(bomb)
    start = time.monotonic()
    with pytest.raises(FitsError, match="unfolds too far"):
        open_plain(tmp_path / "bomb.gz")
    with pytest.raises(FitsError, match="unfolds too far: to more than 1048576 bytes"):
        open_plain(tmp_path / "bomb.gz", max_bytes=1 << 20)
    assert time.monotonic() - start < 5
    (tmp_path / "twice.gz").write_bytes(gzip.compress(bomb))
    with pytest.raises(FitsError, match="not FITS"), open_plain(tmp_path / "twice.gz") as file:
        walk_hdus(file, size=file_size(file))


def test_the_header_of_a_packed_file_is_read_without_the_rest(tmp_path: Path) -> None:
    data = bz2.compress(image_bytes(np.random.default_rng(0).random((600, 600))))
    (tmp_path / "cut.bz2").write_bytes(data[:-1000])
    with open_stream(tmp_path / "cut.bz2") as file:
        assert first_image(file).shape == (600, 600)
    with pytest.raises(FitsError, match=r"damaged compression: .*ended before"):
        open_plain(tmp_path / "cut.bz2")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_flipped_bits_in_a_packed_file_are_named(tmp_path: Path, pack: Any) -> None:
    chance = random.Random(1)
    clean = pack(np.random.default_rng(0).integers(0, 9, 5000).astype(np.uint8).tobytes())
    for _ in range(50):
        data = bytearray(clean)
        data[chance.randrange(12, len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(FitsError, match="damaged compression: "):
            open_plain(tmp_path / "x")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FitsError, match="not a regular file"):
        open_plain(tmp_path / "pipe")
    with pytest.raises((FitsError, IsADirectoryError)):
        open_plain(tmp_path)
