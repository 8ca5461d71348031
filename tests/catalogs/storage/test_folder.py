"""What every folder promises, on a disk and in a bucket."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymetal.catalogs.storage import Folder, commit_receipt, digest, open_folder


def test_a_written_file_reads_back_and_is_listed(anywhere: Folder) -> None:
    anywhere.write("a/b.bin", b"one")
    anywhere.write("a/c.bin", b"")
    anywhere.write("a/deep/d=1/e.bin", b"deep")
    anywhere.write("a1.bin", b"beside")
    assert anywhere.read("a/b.bin") == b"one"
    assert anywhere.size("a/b.bin") == 3
    assert anywhere.find_size("a/c.bin") == 0
    assert anywhere.find_size("a") is None
    assert anywhere.find_size("a/z.bin") is None
    assert anywhere.names("a/*.bin") == ["a/b.bin", "a/c.bin"]
    assert anywhere.names("a/b*") == ["a/b.bin"]
    assert anywhere.names("a/deep/*/e.bin") == ["a/deep/d=1/e.bin"]
    assert anywhere.names("**/*.bin") == ["a/b.bin", "a/c.bin", "a/deep/d=1/e.bin", "a1.bin"]
    assert anywhere.names("none/*") == []
    assert sorted((anywhere / "a").files()) == ["b.bin", "c.bin", "deep/d=1/e.bin"]
    assert (anywhere / "a").exists("c.bin")
    assert anywhere.exists("a")
    assert anywhere.exists()
    assert not anywhere.exists("a/b")


def test_a_file_that_is_not_there_is_said_to_be_missing(anywhere: Folder) -> None:
    for ask in (anywhere.read, anywhere.size, anywhere.stamp, anywhere.digest, anywhere.local_copy):
        with pytest.raises(FileNotFoundError, match="none"):
            ask("none")
    anywhere.remove("none")
    anywhere.remove_folder("none")
    assert not anywhere.exists("none")


def test_a_file_larger_than_may_be_is_not_read(anywhere: Folder) -> None:
    anywhere.write("x", b"12345")
    assert anywhere.read("x", max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="x has 5 bytes, at most 4 are expected"):
        anywhere.read("x", max_bytes=4)


def test_a_second_write_replaces_the_first_and_changes_the_stamp(anywhere: Folder) -> None:
    anywhere.write("x", b"old")
    before = anywhere.stamp("x")
    assert anywhere.stamp("x") == before
    anywhere.write("x", b"new!")
    assert anywhere.read("x") == b"new!"
    assert anywhere.stamp("x") != before
    assert anywhere.digest("x") == digest(b"new!")
    anywhere.remove("x")
    anywhere.remove("x")
    assert not anywhere.exists("x")


def test_what_is_written_piece_by_piece_is_there_whole_or_not_at_all(anywhere: Folder) -> None:
    with anywhere.open_new("a/x") as file:
        file.write(b"one")
        file.write(b"two")
        assert not anywhere.exists("a/x")
    assert anywhere.read("a/x") == b"onetwo"
    with pytest.raises(RuntimeError, match="midway"):
        _write_half(anywhere, "a/x")
    assert anywhere.read("a/x") == b"onetwo"
    assert anywhere.names("a/*") == ["a/x"]


def _write_half(folder: Folder, name: str) -> None:
    with folder.open_new(name) as file:
        file.write(b"half")
        raise RuntimeError("midway")


def test_of_two_writers_the_first_wins(anywhere: Folder) -> None:
    assert anywhere.put_if_absent("receipt", b"first")
    assert not anywhere.put_if_absent("receipt", b"second")
    assert not anywhere.put_if_absent("receipt", b"first")
    assert anywhere.read("receipt") == b"first"


def test_an_equal_receipt_is_the_same_fact_and_another_is_an_error(anywhere: Folder) -> None:
    commit_receipt(anywhere, "r", b"one")
    commit_receipt(anywhere, "r", b"one")
    with pytest.raises(RuntimeError, match="different result"):
        commit_receipt(anywhere, "r", b"two")


def test_a_note_is_made_once_and_a_folder_goes_with_what_is_in_it(anywhere: Folder) -> None:
    anywhere.mark("notes/a")
    assert anywhere.size("notes/a") == 0
    with pytest.raises(FileExistsError):
        anywhere.mark("notes/a")
    anywhere.write("notes2/b", b"stays")
    anywhere.remove_folder("notes")
    assert not anywhere.exists("notes")
    assert anywhere.exists("notes2/b")


def test_lines_are_added_at_the_end(anywhere: Folder) -> None:
    anywhere.write("other", b"")
    anywhere.append("events", b"one\n")
    anywhere.append("events", b"two\n")
    assert anywhere.read("events") == b"one\ntwo\n"


def test_a_folder_that_is_made_takes_its_name_whole_and_a_pointer_moves_to_it(anywhere: Folder) -> None:
    for text in (b"first", b"again"):
        with anywhere.make_folder("versions/v1") as making:
            making.write("a/rows", text, flush=False)
            making.write("end", b"", flush=False)
        anywhere.sweep_folders("versions")
    assert sorted((anywhere / "versions").files()) == ["v1/a/rows", "v1/end"]
    assert (anywhere / "versions/v1").read("a/rows") == b"again"
    assert anywhere.can_point("current")
    anywhere.point("current", "versions/v1")
    assert (anywhere / "current").resolved() == (anywhere / "versions/v1").resolved()
    with anywhere.make_folder("versions/v2") as making:
        making.write("end", b"")
    anywhere.point("current", "versions/v2")
    assert anywhere.can_point("current")
    assert (anywhere / "current").resolved().name == "v2"
    assert (anywhere / "versions/v1").resolved().name == "v1"


def test_a_folder_travels_and_is_opened_again_by_its_text(anywhere: Folder) -> None:
    inner = anywhere / "a/b"
    assert pickle.loads(pickle.dumps(inner)) == inner  # noqa: S301
    assert open_folder(str(inner)) == inner
    assert (inner.name, inner.parent) == ("b", anywhere / "a")
    assert hash(inner) == hash(anywhere / "a" / "b")


def test_a_local_copy_has_the_bytes_and_is_made_anew_when_they_change(anywhere: Folder) -> None:
    anywhere.write("x", b"one")
    assert anywhere.local_copy("x").read_bytes() == b"one"
    assert anywhere.local_copy("x") == anywhere.local_copy("x")
    anywhere.write("x", b"other")
    assert anywhere.local_copy("x").read_bytes() == b"other"


def test_arrow_reads_only_what_it_needs(anywhere: Folder) -> None:
    table = pa.table({"a": range(100_000), "b": [float(k) for k in range(100_000)]})
    with anywhere.open_new("t.parquet") as file:
        pq.write_table(table, file, row_group_size=1000)
    file = pq.ParquetFile(anywhere.filesystem.open_input_file(anywhere.arrow_path("t.parquet")))
    assert file.read_row_group(7, ["b"]).equals(table.slice(7000, 1000).select(["b"]))
    assert pq.read_table(anywhere.arrow_path("t.parquet"), filesystem=anywhere.filesystem).equals(table)
    with pytest.raises(FileNotFoundError):
        anywhere.filesystem.open_input_file(anywhere.arrow_path("none.parquet"))


def test_a_folder_on_this_machine_is_the_same_each_time(anywhere: Folder) -> None:
    local = anywhere.on_this_machine("work")
    local.write("x", b"1")
    assert anywhere.on_this_machine("work").read("x") == b"1"
    assert (anywhere / "b").on_this_machine("work") != local
    local.remove_folder("")
