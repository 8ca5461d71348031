"""What the process of a query does: it locks itself in, then answers one SELECT."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from skymetal.catalogs.dataset import open_dataset, without_half_floats
from skymetal.catalogs.errors import printable
from skymetal.catalogs.query.order import VIEW, Ending, QueryOrder, read_order
from skymetal.catalogs.query.plain import with_words

ROWS_A_BATCH = 1 << 16
MAX_THREADS = 4
MAX_REASON_LENGTH = 500
_NO_MEMORY = ("Out of Memory Error:", "std::bad_alloc", "malloc of size", "realloc of size")
# Libraries are mapped from their files, and that RLIMIT_DATA does not count.
LIBRARIES_BYTES = 128 << 20
Config = dict[str, str | bool | int | float | list[str]]
# Over data that we opened ourselves: no file, no network, no extension, no Python variable.
LOCKED: Config = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}


class _Sparing(ds.FileSystemDataset):  # type: ignore[misc]
    """A dataset that reads little ahead where a column is a vector: duckdb asks it for a scanner, and no more."""

    def scanner(self, **wanted: Any) -> ds.Scanner:
        names = wanted.get("columns") or self.schema.names
        is_wide = any(pa.types.is_fixed_size_list(self.schema.field(name).type) for name in names)
        ahead = {"batch_readahead": 1, "fragment_readahead": 1} if is_wide else {}
        return super().scanner(**wanted, **ahead)


class Refused(Exception):
    """A query that is not to be answered. Its text says why."""


def serve() -> Ending:
    """Answer the order on standard input with an Arrow stream on standard output.

    Of anything that goes wrong one line is left on standard error.
    """
    answers, errors = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(2), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints is no answer
    order = read_order(sys.stdin.buffer)
    _lock_in(order.memory_bytes)
    os.dup2(silence, 2)
    try:
        _answer(order, answers)
    except Exception as error:
        ending, reason = _understand(error)
        errors.write(printable(reason)[:MAX_REASON_LENGTH].encode())
        errors.flush()
        return ending
    return Ending.ANSWERED


def _lock_in(memory_bytes: int) -> None:
    """Forget the environment, and let the kernel refuse more memory, and a single byte in any file."""
    os.environ.clear()
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    pa.set_cpu_count(threads)  # each thread's stack counts
    pa.set_io_thread_count(threads)
    limits = {
        resource.RLIMIT_DATA: memory_bytes - LIBRARIES_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, limit in limits.items():
        _, hard = resource.getrlimit(name)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (limit, limit))


def _answer(order: QueryOrder, answers: BinaryIO) -> None:
    opened = open_dataset(order.metadata, without_half_floats(order.schema))
    dataset = _Sparing(list(opened.get_fragments()), opened.schema, opened.format, opened.filesystem)
    limits: Config = {
        # The rest is for what Arrow reads ahead, and for what a query's text itself becomes.
        "memory_limit": f"{order.memory_bytes // 2 >> 20}MiB",
        "threads": min(MAX_THREADS, os.cpu_count() or 1),
    }
    with duckdb.connect(":memory:", config=LOCKED | limits) as connection:
        statements = duckdb.extract_statements(order.text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise Refused(f"a query is one SELECT statement over {VIEW}, got {_describe(statements)}")
        connection.register(VIEW, dataset)
        reader = connection.sql(statements[0]).to_arrow_reader(ROWS_A_BATCH)
        with connection.cursor() as aside:
            described = with_words(reader.schema, order.schema, order.text, aside)
        with pa.ipc.new_stream(answers, described) as writer:
            for batch in reader:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=described))
        answers.flush()


def _describe(statements: Sequence[duckdb.Statement]) -> str:
    if [statement.type for statement in statements] == [duckdb.StatementType.MULTI]:
        return "a PIVOT that takes its columns from the rows: name them, PIVOT … ON x IN (…)"
    kinds = [statement.type.name for statement in statements]
    return ", ".join(kinds[:5]) + (", …" if len(kinds) > 5 else "") if kinds else "nothing"


def _understand(error: Exception) -> tuple[Ending, str]:
    """Return the kind of an error and what is to be said of it.

    Once rows stream, Arrow passes on duckdb's errors as its own: their text tells more than their class.
    """
    text = str(error)
    if isinstance(error, Refused):
        return Ending.REFUSED, text
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return Ending.NO_MEMORY, text
    is_ours = isinstance(error, OSError | pa.ArrowInvalid) and "Error:" not in text
    if is_ours or f"registered as '{VIEW}' failed" in text:
        return Ending.DAMAGED, " ".join(text.split("failed: ", 1)[-1].split())
    # duckdb's hint, such as a name that is near, is on the second line; then comes a drawing of the place.
    return Ending.REFUSED, "the query failed: " + " ".join(text.split("\n\n")[0].split("\nLINE ")[0].split())
