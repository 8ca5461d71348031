from __future__ import annotations

import io
import os
import random
import resource
import socket
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skymetal.engine.sources.pictures import Unsuitable, decode_picture, read_regular_file

pytestmark = pytest.mark.timeout(30)


def picture(size: int = 32, mode: str = "RGB", form: str = "JPEG", **options: object) -> bytes:
    shape = (size, size, 3) if mode != "I;16" else (size, size)
    pixels = np.random.default_rng(0).integers(0, 255, shape)
    image = Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.uint8))
    buffer = io.BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(buffer, form, **options)
    return buffer.getvalue()


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("7.jpg", picture())
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def header(size: int = 32, num_bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", size, size, num_bits, colour, 0, 0, 0)


def claims(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header tells another size."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def decode(data: bytes, size: int = 32) -> NDArray[np.uint8]:
    return decode_picture(data, input_size_pix=size, crop_pix=size, size_pix=size)


def reason(data: bytes, size: int = 32) -> str:
    with pytest.raises(Unsuitable) as error:
        decode(data, size)
    words = str(error.value)
    assert words
    assert words.isprintable()
    assert " at 0x" not in words, "an address differs from run to run"
    return words


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pixels_come_back_as_they_are_stored(form: str) -> None:
    data = picture(form=form)
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_a_progressive_jpeg_of_many_scans_is_whole() -> None:
    data = picture(size=64, progressive=True, quality=95)
    assert decode(data, 64).shape == (64, 64, 3)
    assert reason(data[:-20], 64).startswith("truncated: ")


def test_an_exif_orientation_changes_nothing_and_broken_exif_warns_of_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # show it rotated by 90°
    assert np.array_equal(decode(picture(exif=exif)), decode(picture()))
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x1a\0\x05\xff\xff\xff\xff" * 40
    assert np.array_equal(decode(picture(exif=broken)), decode(picture()))


def test_the_middle_is_kept_and_averaged_down() -> None:
    pixels = np.zeros((12, 12, 3), np.uint8)
    pixels[2:10, 2:10] = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), np.ones((2, 2, 3), np.uint8)) * 10
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    middle = decode_picture(buffer.getvalue(), input_size_pix=12, crop_pix=8, size_pix=4)
    assert np.array_equal(middle[..., 1], np.arange(16).reshape(4, 4) * 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\x00" * 1000,
        b"<html>not found</html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b'{"error": 429}',
        b"SIMPLE  =                    T",
        picture(form="GIF"),
        picture(form="TIFF"),
        picture(form="BMP"),
        picture(form="WEBP"),
        zip_file(),
    ],
)
def test_what_is_no_picture_is_told_as_such(data: bytes) -> None:
    assert reason(data) == "not a JPEG or PNG image"


def test_only_the_formats_asked_for_are_decoded() -> None:
    with pytest.raises(Unsuitable, match=r"^not a JPEG image$"):
        decode_picture(picture(form="PNG"), formats=("JPEG",), input_size_pix=32, crop_pix=32, size_pix=32)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.005, 0.02, 0.2, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_told_as_such_however_little_is_missing(form: str, share: float) -> None:
    data = picture(size=64, form=form)
    assert reason(data[: max(8, int(share * len(data)))], 64).startswith("truncated: ")


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("junk", [b"\0", b"junk" * 100, picture()])
def test_what_follows_the_end_of_an_image_is_not_ignored(form: str, junk: bytes) -> None:
    assert reason(picture(form=form) + junk) == f"trailing bytes: {len(junk)} after the end of the image"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (picture(size=20), "wrong size: 20×20 pixels, expected 32×32"),
        (claims(picture(), 65500, 65500), "wrong size: 65500×65500 pixels, expected 32×32"),
        (claims(picture(), 32, 33), "wrong size: 32×33 pixels, expected 32×32"),
        (png(header(2**31 - 1)), "wrong size: 2147483647×2147483647 pixels, expected 32×32"),
        (picture(mode="L"), "wrong mode: L, expected RGB"),
        (picture(mode="CMYK"), "wrong mode: CMYK, expected RGB"),
        (picture(mode="L", form="PNG"), "wrong mode: grey of 8 bits, expected RGB of 8 bits"),
        (picture(mode="P", form="PNG"), "wrong mode: palette of 8 bits, expected RGB of 8 bits"),
        (picture(mode="RGBA", form="PNG"), "wrong mode: RGB with alpha of 8 bits, expected RGB of 8 bits"),
        (picture(mode="I;16", form="PNG"), "wrong mode: grey of 16 bits, expected RGB of 8 bits"),
        (png(header(num_bits=16)), "wrong mode: RGB of 16 bits, expected RGB of 8 bits"),
        (png(header(colour=77)), "wrong mode: 77 of 8 bits, expected RGB of 8 bits"),
        (png(header(), (b"acTL", bytes(8)), (b"IEND", b"")), "wrong mode: an animated PNG, expected one picture"),
        (png((b"IEND", b""), header()), "unreadable image: a PNG that does not begin with its header"),
        (png(header(), (b"IEND", b"")), "unreadable image: cannot load this image"),
    ],
)
def test_another_size_or_mode_gives_its_reason(data: bytes, words: str) -> None:
    assert reason(data) == words


def test_a_bomb_takes_neither_memory_nor_time() -> None:
    pixels = zlib.compress(bytes(50 << 20), 9)  # 50 MB of them, where 3 kB are due
    text = b"Comment\0\0" + zlib.compress(bytes(50 << 20), 9)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(Unsuitable, match="unreadable image"):
        decode(png(header(), (b"zTXt", text), (b"IDAT", pixels), (b"IEND", b"")))
    reason(png(header(30_000), (b"IDAT", pixels), (b"IEND", b"")))
    decode(png(header(), (b"IDAT", pixels), (b"IEND", b"")))  # the rows that are due, and no more
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_thousand_files_with_flipped_bits_are_decoded_or_refused(form: str) -> None:
    chance = random.Random(5)
    clean = picture(size=24, form=form)
    num_refused = 0
    for _ in range(1000):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            assert decode(bytes(data), 24).shape == (24, 24, 3)
        except Unsuitable as error:
            num_refused += str(error).isprintable()
    if form == "PNG":
        assert num_refused == 1000, "a PNG has checksums"
    assert num_refused > 100


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "7.jpg"
    with pytest.raises(Unsuitable, match=r"^no such file$"):
        read_regular_file(path)
    os.mkfifo(path)
    with pytest.raises(Unsuitable, match=r"^not a regular file$"):
        read_regular_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(Unsuitable, match=r"^not a regular file$"):
        read_regular_file(path)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(Unsuitable, match=r"^not a regular file$"):
        read_regular_file(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(Unsuitable, match=r"^not a regular file$"):
            read_regular_file(path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(Unsuitable, match=r"^unreadable file: Too many levels"):
        read_regular_file(path)
    with pytest.raises(Unsuitable, match=r"^unreadable file: File name too long"):
        read_regular_file(tmp_path / ("x" * 300))


def test_a_file_of_any_size_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "7.jpg"
    path.write_bytes(b"")
    assert read_regular_file(path) == b""
    path.write_bytes(b"abc" * 1000)
    assert read_regular_file(path) == b"abc" * 1000
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Unsuitable, match=r"^file too large: 1099511627776 bytes, at most 67108864 are read$"):
        read_regular_file(path)


def test_real_survey_images_decode(real_data: Path) -> None:
    labelled = sorted((real_data / "sdss-oh" / "images").glob("*.jpg"))
    assert len(labelled) == 400
    for path in labelled:
        assert decode(read_regular_file(path), 128).std() > 1


def test_a_truncated_real_image_is_refused(real_data: Path) -> None:
    data = read_regular_file(real_data / "bad" / "truncated-sdss.jpg")
    with Image.open(io.BytesIO(data)) as image:
        size = image.width
    assert reason(data, size).startswith("truncated: ")
