from __future__ import annotations

import builtins
import json
import os
import pickle
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.array import ArraySource

pytestmark = pytest.mark.timeout(30)
NUM, SIZE = 40, 12
IDS = np.random.default_rng(1).permutation(NUM) + 1_237_648_702_973_411_000
PICTURES = np.random.default_rng(2).integers(0, 256, (NUM, SIZE, SIZE, 3)).astype(np.uint8)
FLUX = np.random.default_rng(3).normal(1, 0.3, (NUM, 4, SIZE, SIZE)).astype(np.float32)
FORMS = ["hdf5", "hdf5-chunked", "zarr2", "zarr3", "zarr3-sharded"]


def write(path: Path, form: str, **arrays: NDArray[Any]) -> Path:
    """Write arrays, in chunks of 8 rows, and return the path."""
    if form.startswith("hdf5"):
        h5py = pytest.importorskip("h5py")
        options = {"compression": "gzip"} if form == "hdf5-chunked" else {}
        with h5py.File(path / "cutouts.h5", "w") as file:
            for key, values in arrays.items():
                chunks = (min(8, len(values)), *values.shape[1:]) if options else None
                file.create_dataset(key, data=values, chunks=chunks, **options)
        return path / "cutouts.h5"
    group = zarr.create_group(path / "cutouts.zarr", zarr_format=2 if form == "zarr2" else 3)
    for key, values in arrays.items():
        chunks = (8, *values.shape[1:])
        shards = (16, *values.shape[1:]) if form == "zarr3-sharded" else None
        group.create_array(key, data=values, chunks=chunks, shards=shards)
    return path / "cutouts.zarr"


def source(path: Path, rendering: Rendering | None = None, size_pix: int = SIZE, **settings: Any) -> ArraySource:
    return ArraySource(
        **{
            "path": str(path),
            "images_key": "images",
            "object_id_key": "object_id",
            "bands": ("i", "r", "g"),
            "file_bands": (),
            "framing": Framing(size_pix=size_pix, size_rule="fixed", pixel_scale_arcsec=0.396),
            "rendering": rendering,
            "input_size_pix": SIZE,
            "crop_pix": SIZE,
            **settings,
        }
    )


def flux(path: Path, **settings: Any) -> ArraySource:
    return source(path, Rendering(kind="flux"), file_bands=("g", "r", "i", "z"), **settings)


def read(source: ArraySource, object_id: Any) -> list[Cutout]:
    return list(source.read(pa.table({"object_id": pa.array(object_id, pa.int64())})))


def check(source: ArraySource, path: Path, object_id: Any = IDS) -> None:
    source.check(target_list(path, object_id))


def target_list(path: Path, object_id: Any) -> TargetList:
    return write_targets(
        LocalFolder(path), "t.parquet", pa.table({"object_id": object_id}), selection={"survey": "test"}
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("planes_first", [False, True])
def test_pictures_come_in_the_order_of_the_targets(tmp_path: Path, form: str, planes_first: bool) -> None:
    images = PICTURES.transpose(0, 3, 1, 2) if planes_first else PICTURES
    path = write(tmp_path, form, images=images, object_id=IDS)
    there = pickle.loads(pickle.dumps(source(path)))  # noqa: S301
    check(there, tmp_path)
    wanted = np.random.default_rng(4).permutation(NUM)[:17]
    cutouts = read(there, [*IDS[wanted], 5])
    for row, cutout in zip(wanted, cutouts, strict=False):
        assert cutout.pixels is not None
        assert np.array_equal(cutout.pixels, PICTURES[row])
        assert cutout.source == f"{path.name}:images[{row}]"
    assert cutouts[-1].reason == "no such image: the array lacks its id"
    assert cutouts[-1].source == f"{path.name}:images"


def test_a_picture_of_another_order_of_bands_is_put_in_ours(tmp_path: Path) -> None:
    path = write(tmp_path, "zarr3", images=PICTURES, object_id=IDS)
    (cutout,) = read(source(path, file_bands=("g", "r", "i")), IDS[:1])
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, PICTURES[0, :, :, ::-1])


def test_the_middle_of_a_picture_is_resampled_as_that_of_a_file_is(tmp_path: Path) -> None:
    path = write(tmp_path, "zarr3", images=PICTURES, object_id=IDS)
    (cutout,) = read(source(path, crop_pix=8, size_pix=4), IDS[:1])
    expected = Image.fromarray(PICTURES[0]).resize((4, 4), Image.Resampling.BOX, box=(2, 2, 10, 10))
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, np.asarray(expected))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("form", ["hdf5", "zarr2"])
def test_bands_of_flux_are_picked_by_name(tmp_path: Path, form: str, dtype: str) -> None:
    path = write(tmp_path, form, images=FLUX.astype(dtype), object_id=IDS)
    check(flux(path), tmp_path)
    for row, cutout in enumerate(read(flux(path), IDS)):
        assert cutout.pixels is not None
        assert cutout.pixels.dtype == np.float32
        assert np.array_equal(cutout.pixels, FLUX[row, [2, 1, 0]].transpose(1, 2, 0))
        assert cutout.flags == Flag(0)


def test_flux_is_rendered_as_the_job_says(tmp_path: Path) -> None:
    path = write(tmp_path, "zarr3", images=FLUX, object_id=IDS)
    rendering = Rendering(kind="lupton", stretch=2.0)
    (cutout,) = read(source(path, rendering, file_bands=("g", "r", "i", "z")), IDS[3:4])
    assert cutout.pixels is not None
    assert np.array_equal(cutout.pixels, rendering.render(FLUX[3, [2, 1, 0]].transpose(1, 2, 0)))


def test_pixels_without_data_are_flagged_and_a_band_without_any_is_a_reason(tmp_path: Path) -> None:
    images = FLUX.copy()
    images[0, 1, :3, :3] = np.nan
    images[1, 2] = 0
    images[2, :3] = np.inf
    images[3, 3] = np.nan  # z, which is not asked for
    images[4, 0, 0, 0] = np.nan  # outside the middle
    path = write(tmp_path, "zarr3", images=images, object_id=IDS)
    first, *others = read(flux(path), IDS[:4])
    assert first.pixels is not None
    assert np.array_equal(first.pixels[:3, :3], np.where([0, 1, 0], 0, images[0, [2, 1, 0], :3, :3].transpose(1, 2, 0)))
    assert first.flags == Flag.BAD_PIXELS | Flag.PADDED
    assert [cutout.reason for cutout in others] == [
        "missing band: no pixel has data in i",
        "blank: no pixel has data in any band",
        "",
    ]
    assert others[0].flags == Flag.MISSING_BAND
    (middle,) = read(flux(path, crop_pix=9, size_pix=9), IDS[4:5])
    assert middle.flags == Flag(0)
    assert middle.pixels is not None


@pytest.mark.parametrize("form", ["hdf5", "zarr3"])
def test_arrays_that_are_not_as_described_are_refused(tmp_path: Path, form: str) -> None:
    doubled = np.concatenate([IDS[:-1], IDS[:1]])
    path = write(
        tmp_path,
        form,
        images=PICTURES,
        object_id=IDS,
        flux=FLUX,
        short=IDS[:-1],
        doubled=doubled,
        named=IDS.astype("f8"),
        square=IDS[:, None],
    )
    check(source(path), tmp_path)
    for message, settings in {
        "images_key 'image' is no array of .*; did you mean 'images'": {"images_key": "image"},
        "object_id_key 'objectid' is no array of .*; did you mean 'object_id'": {"object_id_key": "objectid"},
        r"shape \(40, 12, 12, 3\), expected \(N, 16, 16, 3\)": {"input_size_pix": 16},
        r"shape \(40,\), expected \(N, 12, 12, 3\)": {"images_key": "object_id"},
        r"expected \(N, 12, 12, 4\) or \(N, 4, 12, 12\)": {"file_bands": ("g", "r", "i", "z")},
        "flux' of .* is float32, but a picture is uint8": {"images_key": "flux", "file_bands": ("g", "r", "i", "z")},
        "is uint8, but flux is float32": {"rendering": Rendering(kind="flux")},
        "file_bands lack 'i'; there is g, r, z": {"file_bands": ("g", "r", "z")},
        "has 39 ids for 40 images": {"object_id_key": "short"},
        f"holds {IDS[0]} more than once": {"object_id_key": "doubled"},
        "is float64 of shape .*; the ids must be one row of integers": {"object_id_key": "named"},
        r"is int64 of shape \(40, 1\)": {"object_id_key": "square"},
    }.items():
        with pytest.raises(InputError, match=message):
            check(source(path, **settings), tmp_path)
    with pytest.raises(InputError, match="no image of any of the 2 targets among its 40"):
        check(source(path), tmp_path, [1, 2])


def test_an_array_of_no_rows_has_no_image(tmp_path: Path) -> None:
    path = write(tmp_path, "hdf5", images=PICTURES[:0], object_id=IDS[:0])
    with pytest.raises(InputError, match="no image of any of the 40 targets among its 0"):
        check(source(path), tmp_path)
    assert read(source(path), [7])[0].reason.startswith("no such image")


def test_an_id_that_came_twice_is_not_guessed_at(tmp_path: Path) -> None:
    path = write(tmp_path, "zarr3", images=PICTURES, object_id=np.concatenate([IDS[:-1], IDS[:1]]))
    twice, once = read(source(path), IDS[:2])
    assert twice.reason == "repeated id: 2 images have it"
    assert once.pixels is not None


def test_what_is_neither_hdf5_nor_zarr_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = tmp_path / "cutouts"
    for content in (None, b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\xff" * 5000, b"<html>"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"cutouts (does not exist or is no file|cannot be opened as HDF5)"):
            check(source(path), tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="does not exist or is no file"):
        check(source(path), tmp_path)
    path.unlink()
    path.mkdir()
    for name, text in {"x": "", "zarr.json": "{", ".zgroup": "[]"}.items():
        (path / name).write_text(text)
        with pytest.raises(InputError, match="cutouts is not a Zarr group"):
            check(source(path), tmp_path)


def test_without_h5py_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cutouts.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    real_import = builtins.__import__

    def without_h5py(name: str, *args: Any) -> Any:
        if name == "h5py":
            raise ImportError("No module named 'h5py'")
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    with pytest.raises(InputError, match=r"needs h5py.*pip install 'skymetal\[hdf5\]'"):
        check(source(tmp_path / "cutouts.h5"), tmp_path)


def test_links_and_values_outside_the_file_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = write(tmp_path, "hdf5", images=PICTURES, object_id=IDS)
    path.rename(tmp_path / "other.h5")
    PICTURES.tofile(tmp_path / "raw")
    with h5py.File(path, "w") as file:
        file["object_id"] = IDS
        file["hard"] = PICTURES
        file["group/images"] = PICTURES
        file["outside"] = h5py.ExternalLink("other.h5", "/images")
        file["through"] = h5py.SoftLink("/outside")
        file["around"] = h5py.SoftLink("/group")
        file.create_dataset("raw", PICTURES.shape, "u1", external=[(str(tmp_path / "raw"), 0, PICTURES.size)])
        layout = h5py.VirtualLayout(PICTURES.shape, "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", PICTURES.shape)
        file.create_virtual_dataset("virtual", layout)
    for key in ("hard", "/hard", "group/images"):
        check(source(path, images_key=key), tmp_path)
    for key in ("outside", "through", "around/images"):
        with pytest.raises(InputError, match="is a link, perhaps out of the file"):
            check(source(path, images_key=key), tmp_path)
    for key in ("raw", "virtual"):
        with pytest.raises(InputError, match="keeps its values in other files"):
            check(source(path, images_key=key), tmp_path)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ({"compressor": {"id": "pickle", "protocol": 5}}, "cannot be opened|encoded by pickle"),
        ({"compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}, "cannot be opened|encoded by pickle"),
        ({"compressor": None, "filters": [{"id": "base64"}]}, "is encoded by base64, which is not among"),
    ],
)
def test_a_zarr_array_of_an_unknown_codec_is_not_decoded(tmp_path: Path, codec: dict[str, Any], message: str) -> None:
    path = write(tmp_path, "zarr2", images=PICTURES, object_id=IDS)
    metadata = path / "images" / ".zarray"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | codec))
    chunk = b"cos\nmkdir\n(V" + str(tmp_path / "pwned").encode() + b"\ntR."
    for name in (path / "images").glob("[0-9]*"):
        name.write_bytes(chunk)
    for attempt in (partial(check, source(path), tmp_path), partial(read, source(path), IDS[:1])):
        with pytest.raises(InputError, match=message):
            attempt()
    assert not (tmp_path / "pwned").exists()


def test_damaged_chunks_are_reasons_for_their_galaxies_only(tmp_path: Path) -> None:
    path = write(tmp_path, "zarr3", images=PICTURES, object_id=IDS)
    chunks = path / "images" / "c"
    (chunks / "0/0/0/0").write_bytes((chunks / "0/0/0/0").read_bytes()[:100])
    (chunks / "1/0/0/0").write_bytes(b"")
    (chunks / "2/0/0/0").unlink()
    os.mkfifo(chunks / "2/0/0/0")
    (chunks / "3/0/0/0").write_bytes(b"\xff" * 5000)
    cutouts = read(source(path), IDS)
    assert [cutout.reason.split(":")[0] for cutout in cutouts] == ["unreadable image"] * 32 + [""] * 8
    assert all(cutout.reason.isprintable() and str(tmp_path) not in cutout.reason for cutout in cutouts)


def test_a_damaged_hdf5_file_never_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path, "hdf5-chunked", images=PICTURES, object_id=IDS)
    chance, clean = random.Random(6), path.read_bytes()
    fates = set()
    for _ in range(60):
        data = bytearray(clean)
        for _ in range(4):
            data[chance.randrange(8192, len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            fates |= {cutout.reason.split(":")[0] for cutout in read(source(path), IDS)}
        except InputError:
            fates.add("refused")
    assert "unreadable image" in fates
    assert fates <= {"", "unreadable image", "no such image", "refused", "repeated id"}


def test_chunks_too_large_to_be_read_whole_are_refused(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "cutouts.zarr")
    group.create_array("images", shape=(10**12, SIZE, SIZE, 3), chunks=(10**8, SIZE, SIZE, 3), dtype="u1")
    group.create_array("many", shape=(10**12, SIZE, SIZE, 3), chunks=(8, SIZE, SIZE, 3), dtype="u1")
    group.create_array("object_id", shape=(10**12,), chunks=(1000,), dtype="i8")
    with pytest.raises(InputError, match=r"has chunks of 40.2 GiB"):
        check(source(tmp_path / "cutouts.zarr"), tmp_path)
    with pytest.raises(InputError, match="has 1000000000000 rows, and at most 200000000 can be read"):
        check(source(tmp_path / "cutouts.zarr", images_key="many"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["hdf5", "hdf5-chunked", "zarr3"])
def test_fifty_rows_of_a_large_array_take_little_memory(tmp_path: Path, form: str) -> None:
    rows = 1600
    images = np.random.default_rng(0).integers(0, 200, (rows, 3, 64, 64)).astype(np.float32) + 1  # 79 MB
    path = write(tmp_path, form, images=images, object_id=np.arange(rows))
    code = (
        "import sys, resource, numpy as np, pyarrow as pa\n"
        "from skymetal.engine.framing import Framing\n"
        "from skymetal.engine.rendering import Rendering\n"
        "from skymetal.engine.sources.array import ArraySource\n"
        "source = ArraySource(path=sys.argv[1], images_key='images', object_id_key='object_id',\n"
        "    bands=('g', 'r', 'i'), file_bands=(), framing=Framing(size_pix=32, size_rule='petro5'), \n"
        "    rendering=Rendering(kind='flux'), input_size_pix=64, crop_pix=64)\n"
        "def read(wanted):\n"
        "    return [c.pixels is None for c in source.read(pa.table({'object_id': wanted}))]\n"
        "assert not any(read([3]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert not any(read(np.random.default_rng(1).permutation(1600)[:50]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=25)
    assert int(result.stdout) < 24 << 10, "kilobytes, of which the 50 images in float32 are 0.6 MB"
