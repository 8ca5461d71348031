from __future__ import annotations

import bz2
import dataclasses
import gzip
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from numpy.typing import NDArray
from support.fits_bytes import image_bytes, sky_cards

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.engine.decoding.client import shared_decoder
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout, frames
from skymetal.engine.sources.mosaic import MosaicSource

pytestmark = pytest.mark.timeout(60)
SCALE = 0.4
SIZE = 32
RA, DEC = 150.0, 40.0


def sky(x: float = 100.5, y: float = 75.5, **changes: Any) -> dict[str, Any]:
    """Return the WCS of a frame 200 pixels wide and 150 high, with (RA, DEC) at x, y, counted from 1."""
    return sky_cards(ra=RA, dec=DEC, x=x, y=y, **({"scale_arcsec": SCALE} | changes))


def numeric(cards: dict[str, Any]) -> fits.Header:
    header = fits.Header()
    for name, value in cards.items():
        is_text = name.startswith("CTYPE")
        header[name] = value.strip("'") if is_text else value if isinstance(value, int) else float(value)
    return header


def field(
    cards: dict[str, Any], sources: list[tuple[float, float]], shape: tuple[int, int] = (150, 200)
) -> NDArray[Any]:
    """Return a faint sky with a round source of 2 pixels at every (ra, dec)."""
    y_HW, x_HW = np.mgrid[: shape[0], : shape[1]]
    light_HW = np.full(shape, 1e-3)
    for x, y in WCS(numeric(cards)).all_world2pix(sources, 0):
        light_HW += np.exp(-((x_HW - x) ** 2 + (y_HW - y) ** 2) / (2 * 2.0**2))
    return light_HW.astype(np.float32)


def make_source(folder: Path, **changes: Any) -> MosaicSource:
    source = MosaicSource(
        folder=str(folder),
        pattern="{brick}-{band}.fits",
        bands=("r",),
        framing=Framing(size_pix=SIZE, size_rule="fixed", pixel_scale_arcsec=SCALE),
        rendering=Rendering(kind="flux"),
    )
    return dataclasses.replace(source, **changes)


def table(*positions: tuple[float | None, float | None], brick: str = "a") -> pa.Table:
    ra, dec = zip(*positions, strict=True)
    columns = {"object_id": list(range(len(ra))), "brick": [brick] * len(ra)}
    return pa.table(columns | {"ra": pa.array(ra, pa.float64()), "dec": pa.array(dec, pa.float64())})


def centroid(plane_HW: NDArray[Any]) -> tuple[float, float]:
    """Return (row, column) of the light above the sky."""
    light_HW = plane_HW.astype(float) - 1e-3
    rows_HW, columns_HW = np.mgrid[: len(plane_HW), : len(plane_HW)]
    return (rows_HW * light_HW).sum() / light_HW.sum(), (columns_HW * light_HW).sum() / light_HW.sum()


def pixels_of(cutout: Cutout) -> NDArray[Any]:
    assert cutout.reason == ""
    assert cutout.pixels is not None
    return cutout.pixels


def beside(north_arcsec: float, east_arcsec: float) -> tuple[float, float]:
    return RA + east_arcsec / 3600 / np.cos(np.radians(DEC)), DEC + north_arcsec / 3600


@pytest.mark.parametrize("form", ["plain", "rice", "gzip tiles", "gzip", "bzip2"])
def test_a_galaxy_is_centred_to_a_fraction_of_a_pixel(tmp_path: Path, form: str) -> None:
    place = beside(3.13, -7.77)
    cards = sky()
    light_HW = field(cards, [place])
    data = image_bytes(light_HW, **cards)
    if form in ("rice", "gzip tiles"):
        kind = {"rice": "RICE_1", "gzip tiles": "GZIP_2"}[form]
        hdu = fits.CompImageHDU(light_HW, numeric(cards), compression_type=kind, quantize_level=256)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a-r.fits", checksum=True)
    else:
        pack = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[form]
        (tmp_path / "a-r.fits").write_bytes(pack(data))
    (cutout,) = make_source(tmp_path).read(table(place))
    assert cutout.flags == 0
    assert cutout.source == "a-{band}.fits"
    assert centroid(pixels_of(cutout)[:, :, 0]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=0.05)


@pytest.mark.parametrize("size_arcsec", [0.1, 0.4, 0.55, 1.3])
def test_the_centre_stays_at_any_scale(tmp_path: Path, size_arcsec: float) -> None:
    place = beside(-2.2, 4.1)
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [place]), **sky()))
    framing = Framing(size_pix=SIZE, size_rule="fixed", pixel_scale_arcsec=size_arcsec)
    (cutout,) = make_source(tmp_path, framing=framing).read(table(place))
    tolerance = 0.1 if size_arcsec >= SCALE else 0.1 * SCALE / size_arcsec
    assert centroid(pixels_of(cutout)[:, :, 0]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=tolerance)


def test_every_band_is_placed_by_its_own_wcs(tmp_path: Path) -> None:
    place = beside(1.0, 1.0)
    for band, x, y in (("g", 100.5, 75.5), ("r", 97.2, 80.9), ("i", 103.8, 71.1)):
        cards = sky(x, y)
        (tmp_path / f"a-{band}.fits").write_bytes(image_bytes(field(cards, [place]), **cards))
    (cutout,) = make_source(tmp_path, bands=("i", "r", "g")).read(table(place))
    for plane in range(3):
        assert centroid(pixels_of(cutout)[:, :, plane]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=0.1)


def test_a_distorted_frame_is_cut_where_the_galaxy_is(tmp_path: Path) -> None:
    place = beside(-20.0, 20.0)
    cards = sky() | {"CTYPE1": "'RA---TAN-SIP'", "CTYPE2": "'DEC--TAN-SIP'", "A_ORDER": 2, "B_ORDER": 2}
    cards |= {"A_2_0": "8E-4", "A_1_1": "1E-4", "B_0_2": "-7E-4"}
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(cards, [place]), **cards))
    (cutout,) = make_source(tmp_path).read(table(place))
    assert centroid(pixels_of(cutout)[:, :, 0]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=0.1)


@pytest.mark.parametrize("turn_deg", [0, 90, 200])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_pictures_show_the_sky_as_it_is_seen(tmp_path: Path, turn_deg: float, is_mirrored: bool) -> None:
    cards = sky(turn_deg=turn_deg)
    if is_mirrored:
        cards |= {name: repr(-float(cards[name])) for name in ("CD1_1", "CD2_1")}
    north, east = beside(4, 0), beside(0, 4)
    found = []
    for number, place in enumerate((north, east)):
        (tmp_path / f"{number}-r.fits").write_bytes(image_bytes(field(cards, [place]), **cards))
        (cutout,) = make_source(tmp_path).read(table((RA, DEC), brick=str(number)))
        row, column = centroid(pixels_of(cutout)[:, :, 0])
        found.append((-(row - (SIZE - 1) / 2), column - (SIZE - 1) / 2))
    (north_up, north_right), (east_up, east_right) = found
    turn = np.radians(turn_deg)
    assert (north_up, north_right) == pytest.approx((10 * np.cos(turn), -10 * np.sin(turn)), abs=0.2)
    # East is a quarter of a turn anticlockwise from north.
    assert (east_up, east_right) == pytest.approx((north_right, -north_up), abs=0.2)


@pytest.mark.parametrize(("turn_deg", "is_refused"), [(0.3, False), (2, True), (180, True)])
def test_bands_that_are_turned_against_each_other_are_refused(
    tmp_path: Path, turn_deg: float, is_refused: bool
) -> None:
    for band, cards in (("r", sky()), ("g", sky(turn_deg=turn_deg, scale_arcsec=0.3))):
        (tmp_path / f"a-{band}.fits").write_bytes(image_bytes(field(cards, [(RA, DEC)]), **cards))
    (cutout,) = make_source(tmp_path, bands=("r", "g")).read(table((RA, DEC)))
    assert cutout.reason == ("bands differ: the frame's north is not the same in r and g" if is_refused else "")


def test_a_galaxy_on_an_edge_is_padded_and_flagged(tmp_path: Path) -> None:
    cards = sky()
    corner = beside(-74.0 * SCALE, -98.0 * SCALE)
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(cards, [corner, (RA, DEC)]), **cards))
    inside, edge, outside = make_source(tmp_path).read(table((RA, DEC), corner, beside(-74.0 * SCALE, -101.5 * SCALE)))
    assert inside.flags == 0
    assert edge.flags == Flag.EDGE | Flag.PADDED
    pixels = pixels_of(edge)[:, :, 0]
    assert pixels[: SIZE // 2, : SIZE // 2].all()
    assert not pixels[SIZE // 2 + 3 :].any()
    assert not pixels[:, SIZE // 2 + 4 :].any()
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    assert (row, column) in {(15, 15), (15, 16), (16, 15), (16, 16)}
    assert outside.reason == "outside: the frame does not hold this position"


def test_holes_in_a_frame_are_flagged_and_a_frame_without_data_here_is_blank(tmp_path: Path) -> None:
    light_HW = field(sky(), [(RA, DEC)])
    light_HW[70:73] = 0
    light_HW[:, 150:] = np.nan
    (tmp_path / "a-r.fits").write_bytes(image_bytes(light_HW, **sky()))
    hole, blank = make_source(tmp_path).read(table((RA, DEC), beside(0, -75 * SCALE)))
    assert hole.flags == Flag.BAD_PIXELS | Flag.PADDED
    assert blank.reason == "blank: no pixel has data in any band"


def test_frames_are_found_by_position_and_opened_once_a_shard(tmp_path: Path) -> None:
    """Two frames overlap by 60 pixels; a third lacks a band."""
    places = [beside(0, (index - 3) * 20 * SCALE) for index in range(12)]
    for number, x in enumerate((100.5, 240.5, 380.5)):
        cards = sky(x=x)
        for band in "gr" if number < 2 else "g":
            (tmp_path / f"frame-{band}-{number}.fits.bz2").write_bytes(
                bz2.compress(image_bytes(field(cards, places), **cards), 1)
            )
    source = make_source(tmp_path, pattern="frame-{band}-*.fits*", bands=("r", "g"))
    calls = shared_decoder().num_calls
    calls.clear()
    cutouts = list(source.read(table(*places)))
    assert calls == {"read_footprint": 2, "cut_frame": 2}
    # East is left: the second frame lies 140 pixels to the east, so the middle of the overlap is 70 pixels from RA.
    expected = [f"frame-{{band}}-{int(index - 3 > 3.5)}.fits.bz2" for index in range(12)]
    assert [cutout.source for cutout in cutouts] == expected
    for cutout in cutouts:
        assert centroid_near(pixels_of(cutout)[:, :, 0]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=0.1)
    list(source.read(table(*places)))
    assert calls == {"read_footprint": 2, "cut_frame": 4}
    far, south = source.read(table((RA + 1, DEC), (RA, -89.0)))
    assert {far.reason, south.reason} == {"outside: no frame holds this position"}


def centroid_near(plane_HW: NDArray[Any]) -> tuple[float, float]:
    """Return the centroid of the middle alone: neighbours are 20 pixels away."""
    middle = plane_HW[8:24, 8:24]
    row, column = centroid(middle)
    return row + 8, column + 8


def test_cutouts_come_in_the_order_of_the_targets_whichever_frame_they_are_on(tmp_path: Path) -> None:
    places = [beside(0, step * SCALE) for step in (-60, 60, -30, 30, 0)]
    for brick in "ab":
        (tmp_path / f"{brick}-r.fits").write_bytes(image_bytes(field(sky(), places), **sky()))
    targets = table(*places).set_column(1, "brick", pa.array(["a", "b", "a", "c", "b"]))
    cutouts = list(make_source(tmp_path).read(targets))
    assert [cutout.source[0] for cutout in cutouts] == ["a", "b", "a", "c", "b"]
    assert cutouts[3].reason == "no such file"
    alone = [next(iter(make_source(tmp_path).read(targets.slice(row, 1)))) for row in (0, 1, 2, 4)]
    for cutout, other in zip([cutouts[row] for row in (0, 1, 2, 4)], alone, strict=True):
        assert np.array_equal(pixels_of(cutout), pixels_of(other))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"CD1_1": 0, "CD2_2": 0}, "its matrix does not give pixels"),
        ({"CD1_1": "1E300", "CD2_2": "1E300"}, "its matrix does not give pixels"),
        ({"CRVAL2": 95}, "CRVAL is 150.0, 95"),
        ({"CRPIX1": "NaN"}, "CRPIX1 is 'NaN', not a number"),
        ({"CRPIX1": "1E30"}, "CRPIX is 1e+30"),
        ({"CRVAL1": "'abc'"}, "CRVAL1 is 'abc', not a number"),
        ({"CTYPE1": "'LINEAR'"}, "CTYPE is 'LINEAR/DEC--TAN'"),
        ({"CTYPE1": "'RA---XYZ'", "CTYPE2": "'DEC--XYZ'"}, "wcslib refuses it, Inconsistent"),
        ({"CTYPE1": "'GLON-TAN'", "CTYPE2": "'GLAT-TAN'"}, "CTYPE is 'GLON-TAN/GLAT-TAN'"),
        ({"RADESYS": "'FK4'"}, "coordinates of 'FK4'"),
        (
            {"CTYPE1": "'RA---TAN-SIP'", "CTYPE2": "'DEC--TAN-SIP'", "A_ORDER": 1_000_000, "B_ORDER": 2},
            "A_ORDER is 1000000, expected 0 to 9",
        ),
        ({"CTYPE1": "'RA---TAN-SIP'", "CTYPE2": "'DEC--TAN-SIP'", "A_ORDER": 2}, "half of the SIP distortion"),
        ({"CPDIS1": "'LOOKUP'"}, "distortions by table"),
    ],
)
def test_a_bad_wcs_is_a_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **(sky() | changes)))
    start = time.monotonic()
    first, second = make_source(tmp_path).read(table((RA, DEC), beside(1, 1)))
    assert time.monotonic() - start < 5
    assert first.reason == second.reason
    assert first.reason.startswith(f"bad WCS: {reason}")
    searched = make_source(tmp_path, pattern="*-{band}.fits")
    targets = write_targets(LocalFolder(tmp_path), "targets.parquet", table((RA, DEC)), selection={})
    with pytest.raises(
        InputError, match=r"none of the 1 frames in .* can be read; the first is 'a-\{band\}\.fits', bad"
    ):
        searched.check(targets)
    far = sky() | {"CRVAL1": RA + 1}
    (tmp_path / "b-r.fits").write_bytes(image_bytes(field(far, [(RA + 1, DEC)]), **far))
    (cutout,) = searched.read(table((RA, DEC)))
    expected = f"outside: no readable frame holds this position; 1 are bad: 'a-{{band}}.fits', bad WCS: {reason}"
    assert cutout.reason.startswith(expected)


def test_a_damaged_band_is_named(tmp_path: Path) -> None:
    data = image_bytes(field(sky(), [(RA, DEC)]), **sky())
    (tmp_path / "a-r.fits").write_bytes(data)
    source = make_source(tmp_path, bands=("r", "g"))
    (cutout,) = source.read(table((RA, DEC)))
    assert (cutout.source, cutout.reason) == ("a-g.fits", "no such file: band g")
    (tmp_path / "a-g.fits").write_bytes(data[:9000])
    (cutout,) = source.read(table((RA, DEC)))
    assert cutout.source == "a-g.fits"
    assert cutout.reason == "unreadable FITS: band g, short data: HDU 0 claims 120000 bytes, 6120 are there"
    (tmp_path / "a-g.fits").write_bytes(image_bytes(np.zeros((150, 200)), **sky()))
    (cutout,) = source.read(table((RA, DEC)))
    assert (cutout.source, cutout.reason) == ("a-g.fits", "missing band: no pixel has data in g")
    outside, unplaced = source.read(table((RA + 1, DEC), (None, DEC)))
    assert (outside.source, unplaced.source) == ("a-r.fits", "a-r.fits")
    (far,) = make_source(tmp_path, pattern="*-{band}.fits", bands=("r", "g")).read(table((RA + 1, DEC)))
    assert (far.source, far.reason) == ("*-{band}.fits", "outside: no frame holds this position")


def test_a_target_without_position_or_size_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    targets = table((None, DEC), (RA, None), (np.inf, DEC), (RA, 91.0), (RA, DEC), (RA, DEC), (RA, DEC))
    targets = targets.append_column("petroR90_r", pa.array([5.0, 5.0, 5.0, 5.0, None, 1e6, 2.0]))
    source = make_source(tmp_path, framing=Framing(size_pix=SIZE, size_rule="petro5"))
    kinds = [cutout.reason.partition(":")[0] for cutout in source.read(targets)]
    assert kinds == ["no position"] * 4 + ["no size", "too large", ""]


def test_a_decoder_that_dies_is_no_end_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    source = make_source(tmp_path)
    before = pixels_of(next(iter(source.read(table((RA, DEC))))))
    shared_decoder().close()
    assert np.array_equal(pixels_of(next(iter(source.read(table((RA, DEC)))))), before)


def test_the_job_is_checked_before_any_work(tmp_path: Path) -> None:
    targets = write_targets(LocalFolder(tmp_path), "targets.parquet", table((RA, DEC)), selection={})
    no_sky = write_targets(LocalFolder(tmp_path), "none.parquet", pa.table({"object_id": [1]}), selection={})
    with pytest.raises(InputError, match="does not exist"):
        make_source(tmp_path / "none").check(targets)
    with pytest.raises(InputError, match="finds galaxies by position"):
        make_source(tmp_path).check(no_sky)
    with pytest.raises(InputError, match=r"must contain \{band\}, which stands for r, g"):
        make_source(tmp_path, pattern="{brick}.fits", bands=("r", "g")).check(targets)
    with pytest.raises(InputError, match=r"has not all bands of the frame .* such as 'a-\{band\}\.fits' in r"):
        make_source(tmp_path).check(targets)
    with pytest.raises(InputError, match="has no column 'brik'"):
        make_source(tmp_path, pattern="{brik}-{band}.fits").check(targets)
    with pytest.raises(InputError, match=r"columns or \*, not both"):
        make_source(tmp_path, pattern="{brick}-{band}*.fits").check(targets)
    with pytest.raises(InputError, match="must stay inside"):
        make_source(tmp_path, pattern="../*-{band}.fits").check(targets)
    with pytest.raises(InputError, match=r"has no frame named '\*-\{band\}\.fits' with all bands of r, g"):
        make_source(tmp_path, pattern="*-{band}.fits", bands=("r", "g")).check(targets)
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    make_source(tmp_path).check(targets)
    make_source(tmp_path, pattern="*-{band}.fits").check(targets)
    for pattern in ("{brick}-{band}.fits", "*-{band}.fits"):
        with pytest.raises(InputError, match="needs the column petroR90_r"):
            make_source(tmp_path, pattern=pattern, framing=Framing(size_pix=SIZE, size_rule="petro5")).check(targets)


@pytest.mark.parametrize("ending", [".fits", ".fits.bz2"])
def test_two_frames_of_one_place_are_refused_by_name(tmp_path: Path, ending: str) -> None:
    """A coadd folder has image, chi2, invvar side by side; or each frame is there twice, packed and not."""
    for number, kind in enumerate(("chi2", "image") if ending == ".fits" else ("image", "image")):
        for band in "gr":
            data = image_bytes(field(sky(), [(RA, DEC)]) + number, **sky())
            name = f"{kind}-{band}{ending if number else '.fits'}"
            (tmp_path / name).write_bytes(bz2.compress(data) if name.endswith(".bz2") else data)
    first = "chi2-r.fits" if ending == ".fits" else "image-r.fits"
    source = make_source(tmp_path, pattern="*-{band}.fits*", bands=("r", "g"))
    targets = write_targets(LocalFolder(tmp_path / "run"), "targets.parquet", table((RA, DEC)), selection={})
    message = f"matches both '{first}' and 'image-r{ending}', which show the same part of the sky"
    with pytest.raises(InputError, match=message):
        source.check(targets)
    with pytest.raises(InputError, match=message):
        list(source.read(table((RA, DEC))))
    named = make_source(tmp_path, pattern=f"image-{{band}}*{ending}", bands=("r", "g"))
    named.check(targets)
    (cutout,) = named.read(table((RA, DEC)))
    assert pixels_of(cutout).min() > 0.5


@pytest.mark.parametrize("pattern", ["{brick}-{band}.fits", "*-{band}.fits", "a-{band}*.fits"])
def test_a_folder_that_is_not_mounted_is_no_galaxys_fault(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "mount"
    source = make_source(folder, pattern=pattern)
    with pytest.raises(OSError, match="cannot be read on this machine: No such file"):
        list(source.read(table((RA, DEC))))
    folder.mkdir()
    with pytest.raises(OSError, match="is empty on this machine"):
        list(source.read(table((RA, DEC))))
    (folder / "readme.txt").touch()
    if "brick" not in pattern:
        with pytest.raises(RuntimeError, match=r"has no frame named .* with all bands of r"):
            list(source.read(table((RA, DEC))))


def test_a_disk_that_goes_away_in_the_middle_is_no_galaxys_fault(tmp_path: Path) -> None:
    folder = tmp_path / "mount"
    folder.mkdir()
    for brick in "ab":
        (folder / f"{brick}-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    targets = table((RA, DEC), (RA, DEC)).set_column(1, "brick", pa.array(["a", "b"]))
    cutouts = make_source(folder).read(targets)
    assert next(cutouts).reason == ""
    folder.rename(tmp_path / "unmounted")
    with pytest.raises(OSError, match="cannot be read on this machine"):
        next(cutouts)


def read_in_a_new_process(source: MosaicSource, *positions: tuple[float, float]) -> tuple[list[Cutout], int]:
    """Return the cutouts, and how many headers were read for them."""
    frames._index_once.cache_clear()
    calls = shared_decoder().num_calls
    calls.clear()
    return list(source.read(table(*positions))), calls["read_footprint"]


def test_where_the_frames_lie_is_found_out_once_for_all_processes(tmp_path: Path) -> None:
    folder, run = tmp_path / "frames", tmp_path / "run"
    folder.mkdir()
    far = sky() | {"CRVAL1": RA + 1}
    (folder / "f-r-1.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    (folder / "f-r-2.fits").write_bytes(image_bytes(field(far, [(RA + 1, DEC)]), **far))
    targets = write_targets(LocalFolder(tmp_path), "targets.parquet", table((RA, DEC)), selection={})
    source = make_source(folder, pattern="f-{band}-*.fits", index_folder=str(run))
    (alone, _), count = read_in_a_new_process(source, (RA, DEC), (RA + 1, DEC))
    assert count == 2
    source.check(targets)
    kept = (run / "frames.json").read_bytes()
    assert str(tmp_path).encode() not in kept
    (first, second), count = read_in_a_new_process(source, (RA, DEC), (RA + 1, DEC))
    assert (first.source, second.source, count) == ("f-{band}-1.fits", "f-{band}-2.fits", 0)
    assert np.array_equal(pixels_of(first), pixels_of(alone))
    # A second run finds it as it is.
    shared_decoder().num_calls.clear()
    source.check(targets)
    assert shared_decoder().num_calls["read_footprint"] == 0
    assert (run / "frames.json").read_bytes() == kept
    # Damaged, it is made anew: a digit may have moved a frame.
    digit = kept.index(b'"ra": 15') + 7
    (run / "frames.json").write_bytes(kept[:digit] + b"2" + kept[digit + 1 :])
    assert read_in_a_new_process(source, (RA, DEC))[1] == 2
    (run / "frames.json").write_bytes(kept[:100])
    assert read_in_a_new_process(source, (RA, DEC))[1] == 2
    # So it is after a frame was replaced, also for a process that has the old one.
    (run / "frames.json").write_bytes(kept)
    read_in_a_new_process(source, (RA, DEC))
    (folder / "f-r-2.fits").rename(folder / "f-r-3.fits")
    source.check(targets)
    assert (run / "frames.json").read_bytes() != kept
    assert next(iter(source.read(table((RA + 1, DEC))))).source == "f-{band}-3.fits"


def test_a_frame_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    targets = write_targets(LocalFolder(tmp_path), "targets.parquet", table((RA, DEC)), selection={})
    (tmp_path / "a-r.fits").write_bytes(image_bytes(field(sky(), [(RA, DEC)]), **sky()))
    (tmp_path / "b-r.fits").write_bytes(b"SIMPLE")
    source = make_source(tmp_path, pattern="*-{band}.fits", index_folder=str(tmp_path))
    for _ in range(2):
        shared_decoder().num_calls.clear()
        source.check(targets)
        assert shared_decoder().num_calls["read_footprint"] == 2
    (cutout, beyond), count = read_in_a_new_process(source, (RA, DEC), (RA + 1, DEC))
    assert (cutout.reason, count) == ("", 0)
    assert beyond.reason.startswith("outside: no readable frame holds this position; 1 are bad: 'b-{band}.fits', unr")


def test_the_next_best_frame_serves_where_the_best_is_damaged(tmp_path: Path) -> None:
    """The first frame holds all three places best, and lacks its last rows; the second does not hold the last."""
    places = [beside(0, 0), beside(20 * SCALE, 20 * SCALE), beside(0, -60 * SCALE)]
    for number, x in enumerate((100.5, 150.5)):
        cards = sky(x=x)
        (tmp_path / f"f-r-{number}.fits").write_bytes(image_bytes(field(cards, places), **cards))
    source = make_source(tmp_path, pattern="f-{band}-*.fits")
    assert [cutout.source for cutout in source.read(table(*places))] == ["f-{band}-0.fits"] * 3
    data = (tmp_path / "f-r-0.fits").read_bytes()
    (tmp_path / "f-r-0.fits").write_bytes(data[:-8640])
    frames._index_once.cache_clear()
    calls = shared_decoder().num_calls
    calls.clear()
    first, second, third = source.read(table(*places))
    assert calls["cut_frame"] == 2
    assert [cutout.source[-6] for cutout in (first, second, third)] == ["1", "1", "0"]
    assert third.reason.startswith("unreadable FITS: short data")
    for cutout in (first, second):
        assert centroid_near(pixels_of(cutout)[:, :, 0]) == pytest.approx([(SIZE - 1) / 2] * 2, abs=0.1)


GALAXIES = ((313.14716, -5.71101), (313.12388, -5.74612), (313.10820, -5.77227))


def test_the_three_large_galaxies_of_the_real_trio_are_centred_and_in_colour(real_data: Path) -> None:
    source = make_source(
        real_data / "sdss-fits",
        pattern="reprojected_sdss_{band}.fits.bz2",
        bands=("i", "r", "g"),
        framing=Framing(size_pix=64, size_rule="fixed", pixel_scale_arcsec=1.188),
    )
    flux = list(source.read(table(*GALAXIES)))
    pictures = list(
        dataclasses.replace(source, rendering=Rendering(kind="lupton", q=8, stretch=0.2)).read(table(*GALAXIES))
    )
    redness = []
    for cutout, picture in zip(flux, pictures, strict=True):
        light = pixels_of(cutout)[28:36, 28:35, 1]  # a star stands 4 pixels to the right of the third
        row, column = np.unravel_index(light.argmax(), light.shape)
        assert abs(28 + row - 31.5) <= 1.5
        assert abs(28 + column - 31.5) <= 1.5
        red, _, blue = pixels_of(picture)[20:44, 20:44].mean(axis=(0, 1))
        redness.append(red / blue)
        assert pixels_of(picture).dtype == np.uint8
    # Two early types with yellow light, and a blue spiral.
    assert min(redness[:2]) > 1.1 > 1.0 > redness[2], redness
    # The second galaxy lies below and to the left of the first, as in the frame shown with its first row at the bottom.
    wide = dataclasses.replace(source, framing=Framing(size_pix=128, size_rule="fixed", pixel_scale_arcsec=2.4))
    (cutout,) = wide.read(table(GALAXIES[0]))
    light = pixels_of(cutout)[68:104, 0:24, 1]
    row, column = np.unravel_index(light.argmax(), light.shape)
    x, y = (163 - 278) * 1.188 / 2.4, (131 - 186) * 1.188 / 2.4
    assert (68 + row, column) == pytest.approx((63.5 - y, 63.5 + x), abs=2)


def test_a_cutout_of_a_real_frame_has_the_values_that_astropy_cuts(real_data: Path) -> None:
    path = real_data / "sdss-fits" / "frame-g-002583-1-0042.fits.bz2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path) as hdus:
            light_HW, wcs = hdus[0].data.astype(np.float32), WCS(hdus[0].header)
    y, x = np.unravel_index(light_HW[100:-100, 100:-100].argmax(), (1289, 1848))
    # Half a pixel on, so that a box of an even size begins at a whole pixel.
    ((ra, dec),) = wcs.all_pix2world([[x + 100.5, y + 100.5]], 0)
    scale = float(3600 * np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))))
    source = make_source(
        path.parent,
        pattern="frame-{band}-*.fits.bz2",
        bands=("g",),
        framing=Framing(size_pix=64, size_rule="fixed", pixel_scale_arcsec=scale),
    )
    inside, beyond = source.read(table((ra, dec), (ra + 1, dec)))
    assert inside.source == "frame-{band}-002583-1-0042.fits.bz2"
    expected = Cutout2D(light_HW, (x + 100.5, y + 100.5), 64, wcs=wcs).data[::-1]
    error = np.abs(pixels_of(inside)[:, :, 0] - expected)
    assert np.median(error) < 1e-3
    assert error.max() < 2e-2 * expected.max()
    assert beyond.reason == "outside: no frame holds this position"
