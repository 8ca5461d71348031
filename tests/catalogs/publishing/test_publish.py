from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.hats import parse_properties
from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.parts import Manifest, commit_part, read_manifest, read_part, write_manifest
from skymetal.catalogs.publishing import build, file_plan
from skymetal.catalogs.publishing.build import PublishProgress
from skymetal.catalogs.publishing.publish import CatalogSettings, PublishReceipt, publish
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.storage import LocalFolder

SETTINGS = CatalogSettings(name="tiny", max_rows=150)


def make_table(seed: int, num_rows: int, *, has_sky: bool = True) -> pa.Table:
    """Rows in store order: a patch of sky that crosses ra 0, and a few galaxies round the north pole."""
    rng = np.random.default_rng(seed)
    schema = catalogue_schema(num_folds=2, has_sky=has_sky).to_arrow()
    ra, dec = rng.uniform(-3, 3, num_rows) % 360, rng.uniform(-3, 3, num_rows)
    ra[:20], dec[:20] = rng.uniform(0, 360, 20), rng.uniform(89, 90, 20)
    columns: dict[str, object] = {"object_id": rng.permutation(10**18 + np.arange(num_rows))}
    if has_sky:
        columns |= {"ra": ra, "dec": dec, "_healpix_29": healpix29(ra, dec)}
    for field in schema:
        if field.type == pa.float32():
            columns[field.name] = rng.normal(8.8, 0.2, num_rows).astype(np.float32)
    columns |= {"is_out_of_fold": np.zeros(num_rows, dtype=bool), "flags": np.zeros(num_rows, dtype=np.int32)}
    table = pa.table(columns, schema=schema)
    return table.sort_by("_healpix_29" if has_sky else "object_id")


def write_parts(folder: LocalFolder, table: pa.Table, step: int = 170) -> Manifest:
    pieces = [table.slice(start, step) for start in range(0, table.num_rows, step)]
    for index, piece in enumerate(pieces):
        commit_part(folder, index, piece, num_quarantined=0, run_digest="run")
    return write_manifest(folder, len(pieces), run_digest="run")


def start(
    run_dir: LocalFolder, table: pa.Table, manifest: Manifest, settings: CatalogSettings = SETTINGS
) -> Iterator[PublishProgress | PublishReceipt]:
    return publish(
        parts=LocalFolder(run_dir.path / "parts"),
        manifest=manifest,
        schema=table.schema,
        run_dir=run_dir,
        settings=settings,
        provenance={"model": "abc", "store": "def = 1"},
    )


def run(run_dir: LocalFolder, table: pa.Table, settings: CatalogSettings = SETTINGS) -> PublishReceipt:
    *_, receipt = start(run_dir, table, write_parts(run_dir / "parts", table), settings)
    assert isinstance(receipt, PublishReceipt)
    return receipt


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def data_files(receipt: PublishReceipt) -> list[Path]:
    return sorted((Path(receipt.place) / "tiny" / "dataset").rglob("*.parquet"))


def test_rows_out_are_rows_in_for_pandas_and_duckdb_alike(tmp_path: Path) -> None:
    table = make_table(1, 1000)
    receipt = run(LocalFolder(tmp_path), table)
    assert receipt.is_hats
    assert receipt.num_rows == 1000
    assert Path(receipt.place) == tmp_path / "catalogue"
    expected = table.to_pandas().sort_values("object_id", ignore_index=True)
    by_pandas = pd.read_parquet(Path(receipt.place) / "tiny" / "dataset", columns=table.column_names)
    by_duckdb = duckdb.read_parquet(f"{receipt.place}/tiny/dataset/**/*.parquet", hive_partitioning=True).df()
    assert {"Norder", "Dir", "Npix"} <= set(by_duckdb.columns)
    for frame in (by_pandas, by_duckdb[table.column_names]):
        pd.testing.assert_frame_equal(frame.sort_values("object_id", ignore_index=True), expected)


def test_every_row_lies_in_its_pixel_and_no_pixel_is_overfull(tmp_path: Path) -> None:
    receipt = run(LocalFolder(tmp_path), make_table(2, 1000))
    num_rows: dict[Path, int] = {}
    for file in data_files(receipt):
        order, npix = (int(part.split("=")[1]) for part in (file.parts[-4], file.parts[-2]))
        index = pq.read_table(file, partitioning=None)["_healpix_29"].to_numpy()
        assert (index >> 2 * (29 - order) == npix).all()
        num_rows[file.parent] = num_rows.get(file.parent, 0) + len(index)
    assert sum(num_rows.values()) == 1000
    assert max(num_rows.values()) <= 150
    assert len(num_rows) == receipt.num_partitions > 5


def test_parts_are_joined_to_files_of_a_decent_size_within_a_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_plan, "FILE_ROWS", 40)
    table = make_table(2, 1000)
    write_parts(LocalFolder(tmp_path / "parts"), table, step=17)
    *written, receipt = start(LocalFolder(tmp_path), table, read_manifest(LocalFolder(tmp_path / "parts")))
    assert isinstance(receipt, PublishReceipt)
    assert sum(step.num_rows for step in written) == 1000
    files = data_files(receipt)
    assert len({file.parent for file in files}) < len(files) < len(list((tmp_path / "parts").glob("*.parquet")))
    assert max(pq.read_metadata(file).num_rows for file in files) <= 40 + 17
    rows = pa.concat_tables([pq.read_table(file, partitioning=None) for file in sorted(files, key=lambda f: f.name)])
    assert rows.equals(table)


def test_footers_and_properties_say_where_the_rows_come_from(tmp_path: Path) -> None:
    table = make_table(3, 400)
    receipt = run(LocalFolder(tmp_path), table)
    parts = read_manifest(LocalFolder(tmp_path / "parts"))
    for file in data_files(receipt):
        words = pq.read_metadata(file).metadata
        first, last = map(int, words[b"skymetal.source_shards"].decode().split("-"))
        sources = [
            read_part(LocalFolder(tmp_path / "parts"), parts.receipts[index]) for index in range(first, last + 1)
        ]
        ids = {id_ for source in sources for id_ in source["object_id"].to_pylist()}
        assert set(pq.read_table(file, partitioning=None)["object_id"].to_pylist()) <= ids
        assert words[b"skymetal.model"] == b"abc"
        assert words[b"skymetal.manifest"] == parts.digest.encode()
        assert pq.read_schema(file).field("oh_p50").metadata[b"unit"] == b"dex"
    properties = parse_properties((Path(receipt.place) / "tiny" / "hats.properties").read_bytes())
    assert properties["skymetal_store"] == "def = 1"
    assert properties["hats_nrows"] == "400"


def test_publishing_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    first = run(LocalFolder(tmp_path / "a"), make_table(4, 500))
    second = run(LocalFolder(tmp_path / "b"), make_table(4, 500))
    assert first.version == second.version
    assert contents(Path(first.place).resolve()) == contents(Path(second.place).resolve())


def test_publishing_again_rewrites_nothing(tmp_path: Path) -> None:
    table, folder = make_table(5, 500), LocalFolder(tmp_path)
    run(folder, table)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "versions").rglob("*")}
    steps = list(start(folder, table, read_manifest(folder / "parts")))
    assert len(steps) == 1
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "versions").rglob("*")} == before


def test_other_settings_are_another_version_and_the_link_moves_to_it_and_back(tmp_path: Path) -> None:
    table, folder = make_table(6, 500), LocalFolder(tmp_path)
    old = run(folder, table)
    new = run(folder, table, CatalogSettings(name="tiny", max_rows=40))
    assert old.version != new.version
    assert old.num_partitions < new.num_partitions
    assert os.readlink(tmp_path / "catalogue") == f"versions/{new.version}"
    # A publisher killed between the rename and the link leaves just this: the new version there, the link old.
    assert run(folder, table) == old
    assert os.readlink(tmp_path / "catalogue") == f"versions/{old.version}"
    assert sorted(p.name for p in (tmp_path / "versions").iterdir()) == sorted([old.version, new.version])


def test_galaxies_without_positions_become_plain_files_in_object_id_order(tmp_path: Path) -> None:
    table = make_table(10, 400, has_sky=False)
    receipt = run(LocalFolder(tmp_path), table)
    assert not receipt.is_hats
    assert receipt.num_partitions == 1
    names = sorted(contents(Path(receipt.place)))
    assert names == [
        "catalogue.properties",
        "contents.parquet",
        "data-model.md",
        "tiny/_metadata",
        "tiny/dataset/_common_metadata",
        f"tiny/dataset/part-000000-{receipt.version[:8]}.parquet",
    ]
    assert pq.read_table(Path(receipt.place) / "tiny" / "dataset").equals(table)


@pytest.mark.parametrize("has_sky", [True, False])
@pytest.mark.parametrize("ids_at_once", [1 << 25, 100])
def test_an_object_id_in_two_parts_is_refused(
    tmp_path: Path, has_sky: bool, ids_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "IDS_AT_ONCE", ids_at_once)
    table = make_table(11, 400, has_sky=has_sky)
    ids = table["object_id"].to_pylist()
    twice = 169 if has_sky else 170
    ids[171 if has_sky else 169] = ids[twice]
    table = table.set_column(0, table.schema.field(0), pa.array(ids))
    with pytest.raises(RuntimeError, match=f"object_id {ids[twice]} was scored twice"):
        run(LocalFolder(tmp_path), table)
    assert not (tmp_path / "catalogue").is_symlink()


def test_a_part_from_elsewhere_on_the_sky_is_refused(tmp_path: Path) -> None:
    table = make_table(12, 400)
    swapped = pa.concat_tables([table.slice(170, 170), table.slice(0, 170), table.slice(340)])
    with pytest.raises(RuntimeError, match=r"part-000001.* out of order: _healpix_29"):
        run(LocalFolder(tmp_path), swapped)


def test_rows_out_of_order_within_a_part_are_refused(tmp_path: Path) -> None:
    table = make_table(13, 100, has_sky=False)
    with pytest.raises(RuntimeError, match="out of order: object_id"):
        run(LocalFolder(tmp_path), table.sort_by([("object_id", "descending")]))


def test_a_part_with_other_columns_is_refused(tmp_path: Path) -> None:
    table, folder = make_table(14, 100), LocalFolder(tmp_path)
    manifest = write_parts(folder / "parts", table.drop_columns("flags"))
    with pytest.raises(RuntimeError, match="other columns"):
        list(start(folder, table, manifest))


def test_a_null_where_the_schema_forbids_it_is_refused(tmp_path: Path) -> None:
    table, folder = make_table(15, 30), LocalFolder(tmp_path)
    nulls = table.set_column(4, pa.field("oh_p2p5", pa.float32()), pa.nulls(30, pa.float32()))
    manifest = write_parts(folder / "parts", nulls)
    with pytest.raises(RuntimeError, match=r"column oh_p2p5 of .* holds nulls"):
        list(start(folder, table, manifest))


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    table, folder = make_table(16, 100), LocalFolder(tmp_path)
    manifest = write_parts(folder / "parts", table)
    file = tmp_path / "parts" / manifest.receipts[0].file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(RuntimeError, match="damaged"):
        list(start(folder, table, manifest))


def test_blocks_whose_galaxies_are_all_quarantined_are_passed_over(tmp_path: Path) -> None:
    table, folder = make_table(17, 50), LocalFolder(tmp_path)
    for index, piece in enumerate([table.slice(0, 0), table.slice(0, 20), table.slice(0, 0), table.slice(20)]):
        commit_part(folder / "parts", index, piece, num_quarantined=5, run_digest="run")
    commit_part(folder / "parts", 4, table.slice(0, 0), num_quarantined=5, run_digest="run")
    *_, receipt = start(folder, table, write_manifest(folder / "parts", 5, run_digest="run"))
    assert isinstance(receipt, PublishReceipt)
    assert receipt.num_rows == 50
    assert sum(pq.read_metadata(file).num_rows for file in data_files(receipt)) == 50


def test_nothing_but_quarantine_cannot_be_published(tmp_path: Path) -> None:
    table, folder = make_table(18, 50), LocalFolder(tmp_path)
    commit_part(folder / "parts", 0, table.slice(0, 0), num_quarantined=50, run_digest="run")
    with pytest.raises(InputError, match="all 50 galaxies are quarantined"):
        list(start(folder, table, write_manifest(folder / "parts", 1, run_digest="run")))


def test_a_folder_called_catalogue_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="move it away"):
        run(LocalFolder(tmp_path), make_table(19, 50))
    assert (tmp_path / "catalogue" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "versions").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", ".hidden", "-x", "a\n"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"\[catalog\] name must be"):
        CatalogSettings(name=name)


@pytest.mark.parametrize("name", ["data-model.md", "contents.parquet", "collection.properties", "x" * 101])
def test_a_name_that_could_not_be_a_folder_is_refused_before_any_work(name: str) -> None:
    with pytest.raises(InputError, match=r"\[catalog\] name must have at most 100 letters, and not be"):
        CatalogSettings(name=name)


def test_max_rows_must_be_positive() -> None:
    with pytest.raises(InputError, match=r"^\[catalog\] max_rows must be at least 1, got 0$"):
        CatalogSettings(max_rows=0)


def test_a_version_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    table = make_table(12, 600)
    receipt = run(LocalFolder(tmp_path), table)
    before = contents(Path(receipt.place))
    for name in (data_files(receipt)[0], "tiny/_metadata", "tiny/partition_info.csv", "contents.parquet"):
        (Path(receipt.place) / name).unlink()
        again = run(LocalFolder(tmp_path), table)
        assert again == receipt
        assert contents(Path(receipt.place)) == before
        assert [path.name for path in (tmp_path / "versions").iterdir()] == [receipt.version]
