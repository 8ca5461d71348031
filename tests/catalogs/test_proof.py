from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.made_catalogue import NUM_ROWS, make_table, publish_table

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.proof import prove_catalog

ROWS_A_PART = 700


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("published")
    publish_table(run_dir, make_table(3), rows_a_part=ROWS_A_PART)
    return run_dir


@pytest.fixture
def catalog(published: Path, tmp_path: Path) -> Catalog:
    """A catalogue to be damaged."""
    version = (published / "catalogue").resolve()
    return open_catalog(shutil.copytree(version, tmp_path / version.name))


def findings(catalog: Catalog) -> list[str]:
    return [str(finding) for checked in prove_catalog(catalog) for finding in checked.findings]


def data_file(catalog: Catalog, place: int = 4) -> Path:
    return sorted(catalog.table_path.rglob("part-*.parquet"))[place]


def named(catalog: Catalog, path: Path) -> str:
    return path.relative_to(catalog.path).as_posix()


def rewrite(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


def test_a_whole_catalogue_passes_and_every_file_is_counted(catalog: Catalog) -> None:
    checked = list(prove_catalog(catalog))
    assert not [finding for each in checked for finding in each.findings]
    assert len(checked) == checked[0].num_total
    files = {path.relative_to(catalog.path).as_posix() for path in catalog.path.rglob("*") if path.is_file()}
    assert files - {each.file for each in checked} == {"contents.parquet", "collection.properties"}


def test_one_without_positions_passes_too(tmp_path: Path) -> None:
    publish_table(tmp_path, make_table(4, has_sky=False))
    assert findings(open_catalog(tmp_path)) == []


def test_a_table_whose_name_looks_like_a_margins_is_proved_as_a_table(tmp_path: Path) -> None:
    publish_table(tmp_path, make_table(4), name="my_margin_test")
    assert findings(open_catalog(tmp_path)) == []


def test_a_flipped_byte_is_found_wherever_it_is(catalog: Catalog) -> None:
    rng = np.random.default_rng(5)
    for path in sorted(path for path in catalog.path.rglob("*") if path.is_file()):
        if path.name in ("collection.properties", "contents.parquet"):
            continue  # below
        data = path.read_bytes()
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        assert f"{named(catalog, path)}: its bytes are not those that were published" in findings(catalog)
        path.write_bytes(data)
    assert findings(catalog) == []


def test_a_flipped_byte_in_the_list_of_contents_is_found(catalog: Catalog) -> None:
    path = catalog.path / "contents.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    assert findings(catalog) == ["contents.parquet: contents.parquet is not what the properties say"]


def test_a_flipped_byte_in_the_properties_is_refused_when_it_is_opened(catalog: Catalog) -> None:
    path = catalog.path / "collection.properties"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(RuntimeError, match=r"is damaged: collection\.properties cannot be trusted"):
            open_catalog(catalog.path)


@pytest.mark.parametrize("name", ["collection.properties", "tiny/dataset/_common_metadata"])
def test_a_lost_file_that_opening_needs_is_named_as_damage(catalog: Catalog, name: str) -> None:
    (catalog.path / name).unlink()
    with pytest.raises(RuntimeError, match=f"is damaged: .*{name.rsplit('/', 1)[-1]}"):
        open_catalog(catalog.path)


def test_a_lost_file_is_named(catalog: Catalog) -> None:
    path = data_file(catalog)
    num_lost = pq.read_metadata(path).num_rows
    path.unlink()
    assert findings(catalog) == [
        f"{named(catalog, path)}: it is missing",
        f"tiny: it holds {NUM_ROWS - num_lost} rows, not {NUM_ROWS}",
    ]


def test_a_foreign_file_is_named(catalog: Catalog) -> None:
    (catalog.table_path / "dataset" / "README.txt").write_text("mine")
    assert findings(catalog) == ["tiny/dataset/README.txt: it is not part of the catalogue as published"]


def test_a_duplicated_part_is_named_as_foreign_or_with_its_twin(catalog: Catalog) -> None:
    path, other = data_file(catalog, 4), data_file(catalog, 5)
    copy = path.with_name("part-999999-00000000.parquet")
    shutil.copy(path, copy)
    assert findings(catalog) == [f"{named(catalog, copy)}: it is not part of the catalogue as published"]
    copy.unlink()
    shutil.copy(path, other)
    found = findings(catalog)
    assert any(text.startswith(f"{named(catalog, other)}: its bytes are not") for text in found)
    assert any(
        "is also in" in text and named(catalog, path) in text and named(catalog, other) in text for text in found
    )


def test_a_row_in_the_wrong_pixel_is_named(catalog: Catalog) -> None:
    path = data_file(catalog)
    table = pq.read_table(path, partitioning=None)
    elsewhere = pq.read_table(data_file(catalog, -1), partitioning=None).slice(0, 1)
    rewrite(path, pa.concat_tables([table, elsewhere]).sort_by("_healpix_29"))
    stray = elsewhere["object_id"][0].as_py()
    assert any(
        text.startswith(f"{named(catalog, path)}: object_id {stray} lies in another pixel")
        for text in findings(catalog)
    )


def test_a_moved_galaxy_is_named(catalog: Catalog) -> None:
    path = data_file(catalog)
    table = pq.read_table(path, partitioning=None)
    dec = table["dec"].to_numpy().copy()
    dec[0] -= 1e-3 * np.sign(dec[0])
    rewrite(path, table.set_column(2, table.schema.field("dec"), pa.array(dec)))
    moved = table["object_id"][0].as_py()
    assert any(f"_healpix_29 of object_id {moved} is not that of its position (1 rows)" in t for t in findings(catalog))


def test_rows_out_of_order_are_named(catalog: Catalog) -> None:
    path = data_file(catalog)
    table = pq.read_table(path, partitioning=None)
    rewrite(path, table.take(pa.array([1, 0, *range(2, table.num_rows)])))
    assert any(f"{named(catalog, path)}: row 1 " in text and "out of order" in text for text in findings(catalog))


def test_a_foreign_schema_is_named_with_what_differs(catalog: Catalog) -> None:
    path = data_file(catalog)
    table = pq.read_table(path, partitioning=None)
    for changed, words in [
        (
            table.rename_columns(["Z" if name == "oh_p50" else name for name in table.column_names]),
            "columns Z too many",
        ),
        (
            table.set_column(3, "_healpix_29", table["_healpix_29"].cast(pa.uint64())),
            "column _healpix_29 is uint64, not int64",
        ),
    ]:
        rewrite(path, changed)
        assert any(
            text.startswith(f"{named(catalog, path)}: its schema is foreign: {words}") for text in findings(catalog)
        )


def test_what_is_no_parquet_any_more_is_named(catalog: Catalog) -> None:
    path = data_file(catalog)
    path.write_bytes(b"")
    assert any(text.startswith(f"{named(catalog, path)}: it cannot be read") for text in findings(catalog))


def test_a_row_that_is_in_no_margin_of_its_pixel_is_named(catalog: Catalog) -> None:
    path = sorted((catalog.path / "tiny_margin_10arcsec").rglob("part-*.parquet"))[0]
    pixel_folder = catalog.table_path / path.parent.relative_to(catalog.path / "tiny_margin_10arcsec")
    inside = pq.read_table(next(pixel_folder.glob("part-*.parquet")), partitioning=None).slice(0, 1)
    rewrite(path, inside)
    assert any("lies inside the pixel whose margin it should be" in text for text in findings(catalog))
