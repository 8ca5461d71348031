from __future__ import annotations

import io
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from skymetal.catalogs.errors import InputError
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.folder import FolderSource

TARGETS = pa.table({"object_id": [1, 7]})


def picture(size: int = 16, mode: str = "RGB", form: str = "JPEG") -> bytes:
    shape = (size, size) if mode in "LI;16" else (size, size, {"RGB": 3, "CMYK": 4, "RGBA": 4}[mode])
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode=None).convert(mode).save(buffer, form)
    return buffer.getvalue()


def read_one(path: Path, data: bytes | None, **settings: int) -> Cutout:
    if data is not None:
        (path / "7.jpg").write_bytes(data)
    sizes = {"size_pix": 16, "input_size_pix": 16, "crop_pix": 16} | settings
    source = FolderSource(folder=str(path), pattern="{object_id}.jpg", **sizes)
    (cutout,) = source.read(pa.table({"object_id": [7]}))
    assert cutout.source == "7.jpg"
    return cutout


def test_a_png_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    data = picture(form="PNG")
    cutout = read_one(tmp_path, data)
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, np.asarray(Image.open(io.BytesIO(data))))


def test_the_middle_is_kept_and_averaged_down(tmp_path: Path) -> None:
    pixels = np.zeros((12, 12, 3), np.uint8)
    pixels[2:10, 2:10] = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), np.ones((2, 2, 3), np.uint8)) * 10
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    cutout = read_one(tmp_path, buffer.getvalue(), input_size_pix=12, crop_pix=8, size_pix=4)
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels[..., 1], np.arange(16).reshape(4, 4) * 10)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no such file"),
        (b"", "not a JPEG or PNG image"),
        (b"\xff\xd8", "not a JPEG or PNG image"),
        (b"<html>not found</html>", "not a JPEG or PNG image"),
        (b"SIMPLE  =                    T", "not a JPEG or PNG image"),
        (picture(form="GIF", mode="L"), "not a JPEG or PNG image"),
        (picture(form="TIFF"), "not a JPEG or PNG image"),
        (picture(size=20), "wrong size: 20×20 pixels, expected 16×16"),
        (picture(mode="L"), "wrong mode: L, expected RGB"),
        (picture(mode="CMYK"), "wrong mode: CMYK, expected RGB"),
        (picture()[: len(picture()) // 2], "truncated"),
    ],
)
def test_a_bad_image_gives_its_reason(tmp_path: Path, data: bytes | None, reason: str) -> None:
    cutout = read_one(tmp_path, data)
    assert cutout.pixels is None
    assert reason in cutout.reason.replace("Truncated", "truncated")
    assert "\n" not in cutout.reason


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "7.jpg")
    assert read_one(tmp_path, None).reason == "not a regular file"
    (tmp_path / "7.jpg").unlink()
    (tmp_path / "7.jpg").mkdir()
    assert read_one(tmp_path, None).reason == "not a regular file"
    (tmp_path / "7.jpg").rmdir()
    with open(tmp_path / "7.jpg", "wb") as file:
        file.truncate(1 << 40)
    assert read_one(tmp_path, None).reason.startswith("file too large: 1099511627776 bytes")


@pytest.mark.parametrize("pattern", ["/etc/{object_id}", "../{object_id}.jpg", "a/../../{object_id}.jpg"])
def test_a_pattern_that_leaves_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    source = FolderSource(folder=str(tmp_path), pattern=pattern, size_pix=16, input_size_pix=16, crop_pix=16)
    with pytest.raises(InputError, match="must stay inside the folder"):
        source.check(TARGETS)


def test_signs_that_a_shell_would_expand_are_plain_letters_in_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[7]*.jpg").write_bytes(picture())
    source = FolderSource(
        folder=str(tmp_path), pattern="[{object_id}]*.jpg", size_pix=16, input_size_pix=16, crop_pix=16
    )
    source.check(TARGETS)
    (cutout,) = source.read(pa.table({"object_id": [7]}))
    assert cutout.pixels is not None


def test_flipped_bits_never_stop_the_run(tmp_path: Path) -> None:
    chance = random.Random(5)
    clean = picture(size=32)
    outcomes = set()
    for _ in range(300):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        cutout = read_one(tmp_path, bytes(data), size_pix=32, input_size_pix=32, crop_pix=32)
        outcomes.add(cutout.pixels is None)
    assert outcomes == {True, False}


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    data = bytearray(picture())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    assert read_one(tmp_path, bytes(data)).pixels is None


def test_the_folder_is_checked_before_any_work(tmp_path: Path) -> None:
    settings = {"size_pix": 16, "input_size_pix": 16, "crop_pix": 16}
    with pytest.raises(InputError, match="does not exist"):
        FolderSource(folder=str(tmp_path / "none"), pattern="{object_id}.jpg", **settings).check(TARGETS)
    with pytest.raises(InputError, match=r"must contain \{object_id\}"):
        FolderSource(folder=str(tmp_path), pattern="image.jpg", **settings).check(TARGETS)
    with pytest.raises(InputError, match=r"has no image of any of the 2 targets, such as '1\.jpg'; it holds nothing"):
        FolderSource(folder=str(tmp_path), pattern="{object_id}.jpg", **settings).check(TARGETS)
    (tmp_path / "1.jpg").write_bytes(b"x")
    FolderSource(folder=str(tmp_path), pattern="{object_id}.jpg", **settings).check(TARGETS)


def test_real_survey_images_decode_and_a_truncated_one_is_named(real_data: Path) -> None:
    settings = {"size_pix": 64, "input_size_pix": 128, "crop_pix": 128}
    source = FolderSource(folder=str(real_data / "sdss-oh" / "images"), pattern="{object_id}.jpg", **settings)
    source.check(pa.table({"object_id": [5, 1237648702973411443]}))
    (cutout,) = source.read(pa.table({"object_id": [1237648702973411443]}))
    assert cutout.pixels is not None
    assert cutout.pixels.shape == (64, 64, 3)
    assert cutout.pixels[24:40, 24:40].mean() > cutout.pixels[:8].mean()
    bad = FolderSource(
        folder=str(real_data / "bad"),
        pattern="truncated-{object_id}.jpg",
        size_pix=64,
        input_size_pix=200,
        crop_pix=200,
    )
    (broken,) = bad.read(pa.table({"object_id": ["sdss"]}))
    assert broken.pixels is None
    assert "truncated" in broken.reason
