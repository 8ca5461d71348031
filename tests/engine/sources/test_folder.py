from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import ROW_GROUP_SIZE, TargetList, write_targets
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.folder import FolderSource

pytestmark = pytest.mark.timeout(30)


def picture(seed: int = 0, size: int = 16) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def source(folder: Path, pattern: str = "{object_id}.jpg", **sizes: int) -> FolderSource:
    return FolderSource(
        folder=str(folder), pattern=pattern, **({"size_pix": 16, "input_size_pix": 16, "crop_pix": 16} | sizes)
    )


def target_list(path: Path, object_id: list[int]) -> TargetList:
    table = pa.table({"object_id": object_id, "run": pa.array([None] * len(object_id), pa.int64())})
    return write_targets(LocalFolder(path), "targets.parquet", table, selection={"survey": "test"})


def read(source: FolderSource, *object_id: int, **columns: list[object]) -> list[Cutout]:
    return list(source.read(pa.table({"object_id": list(object_id), **columns})))


@pytest.fixture(params=["folder", "tar"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same files in a folder and in an archive of that folder."""
    folder = tmp_path / "images"
    for seed in range(9):
        path = folder / f"{seed}0"[:1] / f"{seed}0.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(seed))
    (folder / "5" / "50.jpg").write_bytes(picture()[:-30])
    if request.param == "tar":
        with tarfile.open(tmp_path / "images.tar", "w") as archive:
            archive.add(folder, arcname=".")
        folder = tmp_path / "images.tar"
    return folder


def test_images_are_found_by_name_and_come_in_the_order_of_the_targets(images: Path) -> None:
    nested = pickle.loads(pickle.dumps(source(images, "{object_id:.1}/{object_id}.jpg")))  # noqa: S301
    cutouts = read(nested, 40, 50, 99, 10)
    assert [cutout.source for cutout in cutouts] == ["4/40.jpg", "5/50.jpg", "9/99.jpg", "1/10.jpg"]
    assert [cutout.reason.split(":")[0] for cutout in cutouts] == ["", "truncated", "no such file", ""]
    for cutout, seed in ((cutouts[0], 4), (cutouts[3], 1)):
        assert cutout.pixels is not None
        assert np.array_equal(cutout.pixels, np.asarray(Image.open(io.BytesIO(picture(seed)))))


def test_a_value_that_would_leave_the_folder_is_a_reason(images: Path) -> None:
    names = pa.array(["../images", None, "4/40"], pa.string())
    cutouts = read(source(images, "{name}.jpg"), 1, 2, 3, name=names)
    assert [cutout.reason[:12] for cutout in cutouts] == ["no file name", "no file name", ""]
    assert cutouts[0].source == "{name}.jpg"


def test_the_folder_is_checked_before_any_work(images: Path, tmp_path: Path) -> None:
    targets = target_list(tmp_path, [70, 99])
    source(images, "{object_id:.1}/{object_id}.jpg").check(targets)
    with pytest.raises(InputError, match=r"no image of any of the 2 targets, such as '70\.jpg'; it holds \S*[0-8]"):
        source(images).check(targets)
    with pytest.raises(InputError, match="of any of the 2 targets: no row has all of object_id, run; it holds"):
        source(images, "{object_id}-{run}.jpg").check(targets)
    with pytest.raises(InputError, match="no column 'objid'; did you mean 'object_id'"):
        source(images, "{objid}.jpg").check(targets)
    with pytest.raises(InputError, match="must stay inside the folder"):
        source(images, "../{object_id}.jpg").check(targets)
    with pytest.raises(InputError, match="none does not exist; name the folder, or the tar archive"):
        source(tmp_path / "none").check(targets)


def test_an_empty_folder_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="it holds nothing: check folder and pattern"):
        source(tmp_path / "images").check(target_list(tmp_path, [1]))


def test_one_image_behind_many_targets_without_is_enough(tmp_path: Path) -> None:
    targets = target_list(tmp_path, list(range(1, ROW_GROUP_SIZE + 10)))
    (tmp_path / f"{ROW_GROUP_SIZE + 5}.jpg").write_bytes(b"")
    source(tmp_path).check(targets)


def test_signs_that_a_shell_would_expand_are_plain_letters_in_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[7]*.jpg").write_bytes(picture())
    (cutout,) = read(source(tmp_path, "[{object_id}]*.jpg"), 7)
    assert cutout.pixels is not None


def test_what_is_no_regular_file_is_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "7.jpg")
    (cutout,) = read(source(tmp_path), 7)
    assert cutout.reason == "not a regular file"


def test_a_folder_that_vanishes_is_no_galaxys_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(source(tmp_path / "unmounted"), 7)


def test_a_folder_that_is_unmounted_in_the_middle_is_no_galaxys_fault(tmp_path: Path) -> None:
    mount = tmp_path / "images"
    mount.mkdir()
    (mount / "7.jpg").write_bytes(picture())
    assert read(source(mount), 8, 7)[0].reason == "no such file"
    for is_mount_point_left, match in ((False, "cannot be read on this machine"), (True, "is empty on this machine")):
        cutouts = source(mount).read(pa.table({"object_id": [7, 7, 8]}))
        assert next(cutouts).reason == ""
        mount.rename(tmp_path / "unmounted")
        if is_mount_point_left:
            mount.mkdir()
        with pytest.raises(OSError, match=match):
            next(cutouts)
        if is_mount_point_left:
            mount.rmdir()
        (tmp_path / "unmounted").rename(mount)


def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for mode, name, kind in (("w:gz", "a.tar.gz", "gzip"), ("w:bz2", "a.tar", "bzip2"), ("w:xz", "a.txz", "xz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.addfile(tarfile.TarInfo("7.jpg"))
        with pytest.raises(InputError, match=f"{name} is compressed by {kind}, .*; unpack it"):
            source(tmp_path / name).check(target_list(tmp_path, [7]))


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"x" * 5000, b"<html>" * 200])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.tar").write_bytes(content)
    with pytest.raises(InputError, match="a file, but not a tar archive"):
        source(tmp_path / "images.tar").check(target_list(tmp_path, [7]))


def test_a_pipe_in_the_place_of_the_archive_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "images.tar")
    with pytest.raises(InputError, match="neither a folder nor a file"):
        source(tmp_path / "images.tar").check(target_list(tmp_path, [7]))


def test_all_real_galaxies_decode(real_data: Path) -> None:
    for name, suffix, sizes in (("sdss-oh", "jpg", (128, 128, 64)), ("sdss-unlabelled", "jpeg", (423, 300, 32))):
        folder = real_data / name / "images"
        object_id = sorted(int(path.stem) for path in folder.iterdir())
        size = dict(zip(("input_size_pix", "crop_pix", "size_pix"), sizes, strict=True))
        cutouts = read(source(folder, f"{{object_id}}.{suffix}", **size), *object_id)
        assert [cutout.reason for cutout in cutouts] == [""] * {"sdss-oh": 400, "sdss-unlabelled": 600}[name]
        stack = np.mean([cutout.pixels for cutout in cutouts if cutout.pixels is not None], axis=0)
        middle = slice(3 * sizes[2] // 8, 5 * sizes[2] // 8)
        assert stack.shape == (sizes[2], sizes[2], 3)
        assert stack[middle, middle].mean() > 2 * stack[: sizes[2] // 8].mean(), "the galaxy is in the middle"


def test_a_truncated_real_image_is_quarantined_by_name(real_data: Path) -> None:
    with Image.open(real_data / "bad" / "truncated-sdss.jpg") as image:
        size = image.width
    (cutout,) = read(
        source(real_data / "bad", "{name}.jpg", input_size_pix=size, crop_pix=size), 1, name=["truncated-sdss"]
    )
    assert cutout.source == "truncated-sdss.jpg"
    assert cutout.reason.startswith("truncated: ")
