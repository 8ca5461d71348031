"""Runs a query in a process of its own, ends it at its limits, and says in words what became of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import pyarrow as pa

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.query.order import Ending, QueryLimits, QueryOrder

_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""Of the environment: what Python needs to start."""


def run_query(text: str, *, metadata: Path, schema: pa.Schema, limits: QueryLimits) -> pa.Table:
    """Return what one SELECT gives over the table VIEW, the dataset that the file ``metadata`` lists.

    Raises InputError for another statement, for what duckdb refuses, and for a query that exceeds its limits;
    OSError where the dataset is damaged; RuntimeError where no process can be started. Whatever happens, the
    process is gone afterwards.
    """
    _check_text(text)
    order = QueryOrder(text=text, metadata=metadata, schema=schema, memory_bytes=limits.memory_bytes)
    process = _start()
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        _kill(process)

    timer = threading.Timer(limits.seconds, end)
    timer.daemon = True
    timer.start()
    try:
        with suppress(BrokenPipeError), cast(Any, process.stdin) as orders:
            orders.write(order.to_bytes())
        table = _read(process, limits)
        code = process.wait()
        if code == Ending.ANSWERED and table is not None:
            return table
        if is_late.is_set():
            raise InputError(f"the query took longer than {limits.seconds:g} s; ask for less, or raise max_seconds")
        _explain(code, cast(Any, process.stderr).read(), limits)
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            cast(Any, pipe).close()


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the query is not text: {error}; write it in UTF-8") from None
    if "\0" in text:
        raise InputError(f"the query has a NUL character at place {text.index(chr(0))}; take it out")


def _start() -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "skymetal.catalogs.query", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=kept
            | {
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                # RLIMIT_DATA counts what an allocator sets aside, for every thread.
                "ARROW_DEFAULT_MEMORY_POOL": "system",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "1",
            },
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    except OSError as error:
        raise RuntimeError(f"no process can be started for the query: {error}") from error


def _read(process: subprocess.Popen[bytes], limits: QueryLimits) -> pa.Table | None:
    """Return the rows that came, all of them only if the process then ends well; None where not even a schema came.

    Arrow takes a stream that is cut between two batches for a whole one.
    """
    batches, num_rows, num_bytes = [], 0, 0
    max_bytes = limits.memory_bytes // 2  # they are in this process, and some are still in the other
    try:
        with pa.ipc.open_stream(process.stdout) as reader:
            for batch in reader:
                num_rows += batch.num_rows
                num_bytes += batch.nbytes
                if num_rows > limits.num_rows or num_bytes > max_bytes:
                    most = f"{limits.num_rows} rows" if num_rows > limits.num_rows else _in_words(max_bytes)
                    raise InputError(
                        f"the query gives more than {most}; aggregate, add LIMIT, or write whole columns to a file "
                        "with `skymetal catalog export`"
                    )
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowInvalid, OSError):
        return None


def _explain(code: int, said: bytes, limits: QueryLimits) -> NoReturn:
    """Raise what the end of the process means."""
    reason = printable(said.decode(errors="replace").strip().rsplit("\n", 1)[-1])
    if code == Ending.REFUSED:
        raise InputError(reason)
    if code == Ending.DAMAGED:
        raise OSError(reason)
    if code == Ending.NO_MEMORY or code < 0:
        how = "" if code == Ending.NO_MEMORY else f" (its process ended by signal {-code})"
        raise InputError(
            f"the query does not fit into {_in_words(limits.memory_bytes)} of memory{how}; "
            "ask for fewer columns or rows, or raise max_memory_bytes"
        )
    raise RuntimeError(f"the process for the query ended with exit code {code}: {reason}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / (1 << 30):.3g} GiB" if num_bytes >= 1 << 30 else f"{num_bytes / (1 << 20):.3g} MiB"
