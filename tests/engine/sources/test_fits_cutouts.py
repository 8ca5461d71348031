from __future__ import annotations

import bz2
import dataclasses
import gzip
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from support.fits_bytes import compressed, header_bytes, image_bytes, image_cards, padded, sky_cards, written
from support.fits_faults import FAULTS

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.fits_cutouts import FitsLayout, FitsSource, SkyPlace, read_fits_cutout

pytestmark = pytest.mark.timeout(60)
FIXED = {"size_rule": "fixed", "pixel_scale_arcsec": 0.262}
CUBE = np.random.default_rng(0).normal(1, 0.3, (3, 8, 8)).astype(np.float32)


def make_source(folder: Path, *, size_pix: int = 8, **changes: Any) -> FitsSource:
    source = FitsSource(
        folder=str(folder),
        pattern="{object_id}.fits",
        bands=("z", "r", "g"),
        file_bands=(),
        input_size_pix=8,
        crop_pix=8,
        framing=Framing(size_pix=size_pix, **FIXED),
        rendering=Rendering(kind="flux"),
    )
    return dataclasses.replace(source, **changes)


def read_one(folder: Path, data: bytes | None = None, **changes: Any) -> Cutout:
    if data is not None:
        (folder / "7.fits").write_bytes(data)
    (cutout,) = make_source(folder, **changes).read(pa.table({"object_id": [7]}))
    return cutout


def cube_bytes(cube: Any = CUBE, **more: Any) -> bytes:
    return image_bytes(cube, BANDS="'grz     '", **more)


def upright(*planes: int) -> np.ndarray[Any, Any]:
    return np.moveaxis(CUBE[list(planes)], 0, -1)[::-1]


def test_planes_come_in_the_order_of_the_bands_with_the_top_row_first(tmp_path: Path) -> None:
    cutout = read_one(tmp_path, cube_bytes())
    assert cutout.source == "7.fits"
    assert cutout.flags == 0
    assert cutout.pixels is not None
    assert cutout.pixels.dtype == np.float32
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))


@pytest.mark.parametrize(
    ("cards", "file_bands"),
    [
        ({"BANDS": "'g,r,z'"}, ()),
        ({"BANDS": "'grz'"}, ("z", "r", "g")),
        ({"BAND0": "'g'", "BAND1": "'r'", "BAND2": "'z'"}, ()),
        ({}, ("g", "r", "z")),
    ],
)
def test_the_header_says_which_plane_is_which_band_or_else_the_job(
    tmp_path: Path, cards: dict[str, str], file_bands: tuple[str, ...]
) -> None:
    cutout = read_one(tmp_path, image_bytes(CUBE, **cards), file_bands=file_bands, bands=("r",))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(1))


def test_bands_in_extensions_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    hdus = [fits.ImageHDU(CUBE[plane], name="grz"[plane]) for plane in (2, 0, 1)]
    cutout = read_one(tmp_path, written(*hdus))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))
    nameless = [fits.ImageHDU(plane) for plane in CUBE]
    cutout = read_one(tmp_path, written(*nameless), file_bands=("g", "r", "z"))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))
    assert read_one(tmp_path, written(*nameless)).reason == "missing band: the file has no named band, not z"


@pytest.mark.parametrize("companion", ["INVVAR", "IVAR", "WEIGHT", "MASK", "PSF", "ivar"])
@pytest.mark.parametrize("name", ["SCI", "IMAGE", None])
def test_what_goes_with_the_image_is_not_taken_for_it(tmp_path: Path, companion: str, name: str | None) -> None:
    cube, other = fits.ImageHDU(CUBE, name=name), fits.ImageHDU(CUBE * 100, name=companion)
    for hdus in ((cube, other), (other, cube)):
        cutout = read_one(tmp_path, written(*hdus), file_bands=("g", "r", "z"))
        assert cutout.reason == ""
        assert cutout.pixels is not None
        assert np.array_equal(cutout.pixels, upright(2, 1, 0))
    planes = [*(fits.ImageHDU(plane, name=name) for plane in CUBE), fits.ImageHDU(CUBE[0], name=companion)]
    cutout = read_one(tmp_path, written(*planes), file_bands=("g", "r", "z"))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))
    (tmp_path / "7-r.fits").write_bytes(written(other, fits.ImageHDU(CUBE[1], name="R")))
    cutout = read_one(tmp_path, pattern="{object_id}-{band}.fits", bands=("r",))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(1))


def test_two_images_of_which_none_is_said_to_be_the_galaxy_are_both_named(tmp_path: Path) -> None:
    hdus = [fits.ImageHDU(CUBE), fits.ImageHDU(CUBE, name="MODEL")]
    reason = read_one(tmp_path, written(*hdus), file_bands=("g", "r", "z")).reason
    assert reason.startswith("unknown image: HDU 1 (no name) and HDU 2 (MODEL) are of one shape; EXTNAME = 'SCI'")
    alone = written(fits.ImageHDU(CUBE, name="INVVAR"))
    assert read_one(tmp_path, alone, file_bands=("g", "r", "z")).reason == "no image: the file has only INVVAR"


def test_a_file_a_band_is_read_by_its_name(tmp_path: Path) -> None:
    for plane, band in enumerate("grz"):
        (tmp_path / f"7-{band}.fits").write_bytes(image_bytes(CUBE[plane]))
    cutout = read_one(tmp_path, pattern="{object_id}-{band}.fits")
    assert cutout.source == "7-{band}.fits"
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))
    (tmp_path / "7-g.fits").unlink()
    assert read_one(tmp_path, pattern="{object_id}-{band}.fits").reason == "no such file"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_files_may_be_packed(tmp_path: Path, pack: Any) -> None:
    cutout = read_one(tmp_path, pack(cube_bytes()))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_tiles_are_unpacked(tmp_path: Path, kind: str) -> None:
    settings = {"compression_type": kind, "quantize_level": 1e4}
    hdus = [fits.CompImageHDU(plane, name=name, **settings) for plane, name in zip(CUBE, "GRZ", strict=True)]
    cutout = read_one(tmp_path, written(*hdus, checksum=True))
    assert cutout.pixels is not None
    assert np.allclose(cutout.pixels, upright(2, 1, 0), atol=1e-3)


def test_scaled_integers_become_flux_and_blanks_no_data(tmp_path: Path) -> None:
    counts = np.arange(1, 65, dtype=">i2").reshape(8, 8)
    counts[0, 0] = -99
    cards = image_cards((8, 8), bitpix=16, BSCALE=0.5, BZERO=10.0, BLANK=-99)
    cutout = read_one(tmp_path, header_bytes(cards) + padded(counts.tobytes()), bands=("r",), file_bands=("r",))
    assert cutout.pixels is not None
    expected = counts[::-1] * 0.5 + 10.0
    assert cutout.pixels[7, 0, 0] == 0
    assert np.array_equal(cutout.pixels[:7, :, 0], expected[:7])
    assert cutout.flags == Flag.BAD_PIXELS | Flag.PADDED


def test_the_middle_is_kept_and_the_scale_follows(tmp_path: Path) -> None:
    sky = sky_cards(ra=10, dec=2, x=4.5, y=4.5, scale_arcsec=0.25)
    cutout = read_one(tmp_path, cube_bytes(**sky), crop_pix=4, framing=Framing(size_pix=4, **FIXED))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0)[2:6, 2:6])
    assert cutout.pixel_scale_arcsec == pytest.approx(0.25)
    cutout = read_one(tmp_path, cube_bytes(**sky), crop_pix=4, framing=Framing(size_pix=2, **FIXED))
    assert cutout.pixels is not None
    assert cutout.pixels.shape == (2, 2, 3)
    assert cutout.pixel_scale_arcsec == pytest.approx(0.5)


def test_nan_infinity_and_exact_zero_are_no_data_and_flagged(tmp_path: Path) -> None:
    for nothing in (np.nan, np.inf, -np.inf, 0.0):
        cube = CUBE.copy()
        cube[0, 0] = nothing
        cutout = read_one(tmp_path, cube_bytes(cube))
        assert cutout.flags == Flag.BAD_PIXELS | Flag.PADDED
        assert cutout.pixels is not None
        assert np.array_equal(cutout.pixels[..., :2], upright(2, 1))
        assert not cutout.pixels[-1, :, 2].any()


@pytest.mark.parametrize("nothing", [np.nan, np.inf, 0.0])
def test_a_file_without_any_data_is_blank(tmp_path: Path, nothing: float) -> None:
    cutout = read_one(tmp_path, cube_bytes(np.full_like(CUBE, nothing)))
    assert (cutout.reason, cutout.flags) == ("blank: no pixel has data in any band", Flag.BLANK)
    cube = CUBE.copy()
    cube[0] = nothing
    cutout = read_one(tmp_path, cube_bytes(cube))
    assert (cutout.reason, cutout.flags) == ("missing band: no pixel has data in g", Flag.MISSING_BAND)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no such file"),
        (image_bytes(CUBE, BANDS="'gri'"), "missing band: the file has g, r, i, not z"),
        (image_bytes(CUBE, BANDS="'gr'"), "unknown bands: 3 planes, and header or file_bands name g, r"),
        (image_bytes(CUBE), "unknown bands: 3 planes, and header or file_bands name no named band"),
        (cube_bytes(np.ones((3, 8, 9))), "wrong size: 9×8 pixels, expected 8×8"),
        (cube_bytes(np.ones((3, 7, 7))), "wrong size: 7×7 pixels, expected 8×8"),
        (image_bytes(np.ones((2, 3, 8, 8))), "wrong shape: 4 axes, expected bands × rows × columns"),
        (image_bytes(np.ones(64)), "no image: the file has no HDU of pixels in two dimensions"),
        (cube_bytes(DATASUM="'1'"), "unreadable FITS: wrong DATASUM: the data of HDU 0 are not those written"),
    ],
)  # fmt: skip
def test_an_unsuitable_file_gives_its_reason(tmp_path: Path, data: bytes | None, reason: str) -> None:
    (tmp_path / "other.fits").touch()
    assert read_one(tmp_path, data).reason == reason


def test_every_false_claim_is_a_reason_within_a_second(tmp_path: Path) -> None:
    read_one(tmp_path, cube_bytes())  # the decoder has started
    for name, (data, reason) in FAULTS.items():
        start = time.monotonic()
        cutout = read_one(tmp_path, data)
        assert time.monotonic() - start < 1, name
        assert cutout.pixels is None
        assert cutout.reason.startswith("unreadable FITS: ")
        assert reason in cutout.reason
        assert str(tmp_path) not in cutout.reason


def test_a_checksum_tells_a_flipped_bit(tmp_path: Path) -> None:
    clean = written(*(fits.ImageHDU(plane, name=name) for plane, name in zip(CUBE, "grz", strict=True)), checksum=True)
    assert read_one(tmp_path, clean).pixels is not None
    damaged = bytearray(clean)
    damaged[clean.index(CUBE[1].astype(">f4").tobytes()) + 5] ^= 1
    assert read_one(tmp_path, bytes(damaged)).reason.startswith("unreadable FITS: wrong DATASUM: the data of HDU 2")


def test_a_checksum_of_blanks_is_undefined(tmp_path: Path) -> None:
    cutout = read_one(tmp_path, cube_bytes(DATASUM="'        '"))
    assert cutout.reason == ""
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, upright(2, 1, 0))


def test_a_folder_that_is_not_mounted_is_no_galaxys_fault(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    for name, match in (("none", "cannot be read on this machine: No such file"), ("mount", "is empty on this mach")):
        with pytest.raises(OSError, match=match):
            list(make_source(tmp_path / name).read(pa.table({"object_id": [7]})))
    (tmp_path / "mount" / "7.fits").write_bytes(cube_bytes())
    cutouts = make_source(tmp_path / "mount").read(pa.table({"object_id": [7, 8]}))
    assert next(cutouts).reason == ""
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    with pytest.raises(OSError, match="cannot be read on this machine"):
        next(cutouts)


def test_mutated_tiles_never_stop_the_run(tmp_path: Path) -> None:
    chance = random.Random(11)
    clean = compressed(shape=(20, 20))
    heap = clean.rindex(b"END" + b" " * 77)
    outcomes = set()
    settings = {"bands": ("r",), "file_bands": ("r",), "input_size_pix": 20, "crop_pix": 20}
    for _ in range(150):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(heap, len(data))] ^= 1 << chance.randrange(8)
        cutout = read_one(tmp_path, bytes(data), **settings)
        outcomes.add(cutout.reason.partition(":")[0])
        assert cutout.reason.isprintable()
    assert "" in outcomes
    assert outcomes <= {"", "unreadable FITS", "blank", "out of memory", "crashed the decoder"}
    assert len(outcomes) > 1


def test_a_null_or_a_name_that_leaves_the_folder_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "other.fits").touch()
    (tmp_path / "out.fits").write_bytes(cube_bytes())
    source = make_source(tmp_path / "in", pattern="{name}.fits")
    cutouts = list(source.read(pa.table({"object_id": [1, 2], "name": ["../out", None]})))
    assert [cutout.reason.partition(":")[0] for cutout in cutouts] == ["no name", "no name"]


def test_the_job_is_checked_before_any_work(tmp_path: Path) -> None:
    table = pa.table({"object_id": [5, 7], "plate": [1, 2]})
    targets = write_targets(LocalFolder(tmp_path), "targets.parquet", table, selection={})
    with pytest.raises(InputError, match="does not exist"):
        make_source(tmp_path / "none").check(targets)
    with pytest.raises(InputError, match=r"has no file of any of the 2 targets, such as '5\.fits'"):
        make_source(tmp_path).check(targets)
    with pytest.raises(InputError, match=r"must name the galaxy, for example \{object_id\}"):
        make_source(tmp_path, pattern="{band}.fits").check(targets)
    with pytest.raises(InputError, match="has no column 'plato'; did you mean 'plate'"):
        make_source(tmp_path, pattern="{plato}.fits").check(targets)
    (tmp_path / "7-r.fits").touch()
    make_source(tmp_path, pattern="{object_id}-{band}.fits").check(targets)


def test_real_cutouts_are_read_and_the_bad_ones_named(real_data: Path) -> None:
    settings: dict[str, Any] = {"input_size_pix": 424, "crop_pix": 424, "pattern": "{name}.fits", "size_pix": 128}
    source = make_source(real_data / "decals-fits", **settings)
    good, bad, none = source.read(pa.table({"object_id": [1, 2, 3], "name": ["example_a", "example_bad_pix", "none"]}))
    assert good.pixels is not None
    assert good.flags == 0
    assert good.pixel_scale_arcsec == pytest.approx(0.1 * 424 / 128)
    light = good.pixels.sum(axis=-1)
    assert light[58:70, 58:70].mean() > 20 * np.median(light)
    with fits.open(real_data / "decals-fits" / "example_a.fits") as hdus:
        expected = hdus[0].data[::-1, ::-1].mean(axis=(1, 2))
    assert np.allclose(good.pixels.mean(axis=(0, 1)), expected, rtol=0.01)
    assert bad.flags == Flag.BAD_PIXELS | Flag.PADDED
    assert none.reason == "no such file"
    source = make_source(real_data / "bad", **settings)
    (cutout,) = source.read(pa.table({"object_id": [1], "name": ["truncated-decals"]}))
    assert cutout.source == "truncated-decals.fits"
    assert cutout.reason == "unreadable FITS: short data: HDU 0 claims 2157312 bytes, 1386164 are there"


SKY = {"x": 4.5, "y": 4.5, "scale_arcsec": 0.25}
KINDS_OF_FILE = ("cube", "extensions", "file a band")


def as_header(cards: dict[str, Any]) -> fits.Header:
    return fits.Header({name: v.strip("'") if "CTYPE" in name else float(v) for name, v in cards.items()})


def write_placed(folder: Path, kind: str, **sky: Any) -> dict[str, Any]:
    """Write a galaxy whose last band has this WCS; return the changes to the source that reads it."""
    right = sky_cards(ra=150.0, dec=2.0, **SKY)
    return write_bands(folder, kind, [right, right, sky_cards(**({"ra": 150.0, "dec": 2.0} | SKY | sky))])


def write_bands(folder: Path, kind: str, headers: list[dict[str, Any]]) -> dict[str, Any]:
    """Write a galaxy with a header for each of z, r, g, or the last one for all; return the changes to the source."""
    if kind == "cube":
        (folder / "7.fits").write_bytes(cube_bytes(**headers[-1]))
        return {}
    if kind == "file a band":
        for plane, band in enumerate("zrg"):
            (folder / f"7-{band}.fits").write_bytes(image_bytes(CUBE["grz".index(band)], **headers[plane]))
        return {"pattern": "{object_id}-{band}.fits"}
    hdus = [fits.ImageHDU(CUBE["grz".index(band)], as_header(headers[k]), name=band) for k, band in enumerate("zrg")]
    (folder / "7.fits").write_bytes(written(*hdus))
    return {}


@pytest.mark.parametrize("kind", KINDS_OF_FILE)
def test_a_file_of_another_place_is_refused(tmp_path: Path, kind: str) -> None:
    target = pa.table({"object_id": [7], "ra": [150.0], "dec": [2.0]})

    def reason(row: pa.Table = target, **sky: Any) -> str:
        (cutout,) = make_source(tmp_path, **write_placed(tmp_path, kind, **sky)).read(row)
        return cutout.reason

    assert reason() == ""
    assert reason(ra=10.0, dec=-20.0) == "wrong galaxy: its WCS is centred 493197.1 arcsec away"
    assert reason(ra=-30.0, dec=-2.0) == "wrong galaxy: its WCS is centred 648000.0 arcsec away"
    # 8 pixels of 0.25 arcsec: 0.2 arcsec are allowed.
    assert reason(dec=2.0 + 0.19 / 3600) == ""
    assert reason(dec=2.0 + 0.21 / 3600) == "wrong galaxy: its WCS is centred 0.2 arcsec away"
    assert reason(x=4.5 + 0.7) == ""
    assert reason(x=4.5 - 0.9) == "wrong galaxy: its WCS is centred 0.2 arcsec away"
    assert reason(ra=510.0).startswith("bad WCS: CRVAL is 510")
    unknown = pa.table({"object_id": [7], "ra": pa.array([None], pa.float64()), "dec": [2.0]})
    assert reason(unknown, ra=10.0) == ""


@pytest.mark.parametrize("kind", KINDS_OF_FILE)
@pytest.mark.parametrize("turn_deg", [0, 90, 180])
def test_a_cutout_that_is_mirrored_is_mirrored_back(tmp_path: Path, kind: str, turn_deg: float) -> None:
    """East is on the left where north is up, as in a frame; north itself stays where it is."""
    cards = sky_cards(ra=150.0, dec=2.0, turn_deg=turn_deg, **SKY)
    for is_mirrored, expected in ((False, upright(2, 1, 0)), (True, upright(2, 1, 0)[:, ::-1])):
        signs = {name: repr(-float(cards[name])) for name in ("CD1_1", "CD2_1")} if is_mirrored else {}
        changes = write_bands(tmp_path, kind, [cards | signs] * 3)
        (cutout,) = make_source(tmp_path, **changes).read(pa.table({"object_id": [7], "ra": [150.0], "dec": [2.0]}))
        assert cutout.reason == ""
        assert cutout.pixels is not None
        assert np.array_equal(cutout.pixels, expected)


@pytest.mark.parametrize("kind", KINDS_OF_FILE[1:])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scale_arcsec": 0.3}, "z has 0.25 arcsec/pixel turned by 0.0°, g 0.3 arcsec/pixel turned by 0.0°"),
        ({"turn_deg": 180}, "z has 0.25 arcsec/pixel turned by 0.0°, g 0.25 arcsec/pixel turned by 180.0°"),
        ({"turn_deg": 1}, "z has 0.25 arcsec/pixel turned by 0.0°, g 0.25 arcsec/pixel turned by 1.0°"),
        ({"scale_arcsec": 0.2515, "turn_deg": 0.2}, ""),
    ],
)
def test_bands_of_another_scale_or_rotation_are_refused(
    tmp_path: Path, kind: str, change: dict[str, float], reason: str
) -> None:
    (cutout,) = make_source(tmp_path, **write_placed(tmp_path, kind, **change)).read(pa.table({"object_id": [7]}))
    assert cutout.reason == (f"bands differ: {reason}" if reason else "")


def test_extensions_without_a_wcs_are_placed_by_the_primary_header(tmp_path: Path) -> None:
    target = pa.table({"object_id": [7], "ra": [150.0], "dec": [2.0]})
    hdus = [fits.ImageHDU(CUBE[plane], name="zrg"[plane]) for plane in range(3)]

    def read(ra: float) -> Cutout:
        primary = fits.PrimaryHDU(header=as_header(sky_cards(ra=ra, dec=2.0, **SKY)))
        (tmp_path / "7.fits").write_bytes(written(*hdus, primary=primary))
        (cutout,) = make_source(tmp_path).read(target)
        return cutout

    assert read(150.0).pixel_scale_arcsec == pytest.approx(0.25)
    assert read(155.0).reason.startswith("wrong galaxy: its WCS is centred ")


def test_how_far_a_cutout_may_be_off_is_counted_in_stored_pixels(tmp_path: Path) -> None:
    (tmp_path / "7.fits").write_bytes(cube_bytes(**sky_cards(ra=150.0, dec=2.0, **SKY)))

    def reason(offset_arcsec: float) -> str:
        layout = FitsLayout(bands=("r",), file_bands=(), input_size_pix=8, crop_pix=6, size_pix=3)
        place = SkyPlace(ra=150.0, dec=2.0 + offset_arcsec / 3600, max_offset_pix=1)
        return read_fits_cutout([tmp_path / "7.fits"], layout, place=place).reason

    assert reason(0.49) == ""
    assert reason(0.51) == "wrong galaxy: its WCS is centred 0.5 arcsec away"


@pytest.mark.parametrize("types", [{}, {"CTYPE1": "'LINEAR'", "CTYPE2": "'LINEAR'"}])
def test_a_file_without_a_wcs_is_taken_at_its_name(tmp_path: Path, types: dict[str, str]) -> None:
    (tmp_path / "7.fits").write_bytes(cube_bytes(**types))
    (cutout,) = make_source(tmp_path).read(pa.table({"object_id": [7], "ra": [150.0], "dec": [2.0]}))
    assert cutout.reason == ""
