"""Publishers that die or race, forked from one process that has imported everything and begun nothing.

    python publish_drill.py RUN_DIR

Reads lines ``KILL_AT MAX_ROWS …``: for each pair a process publishes the parts of RUN_DIR, all of a line at once, and
kills itself before its KILL_AT-th change of any file or folder (0: never). Answers with their exit codes: -9 killed,
0 published, 3 refused as another was at work.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

import cdshealpix.nested  # noqa: F401 (publishing loads it when it needs it, every fork anew)
import pyarrow.parquet as pq

from skymetal.catalogs.parts import read_manifest
from skymetal.catalogs.publishing.publish import CatalogSettings, publish
from skymetal.catalogs.storage import LocalFolder

_CHANGES = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir"}


def kill_before_change(number: int) -> None:
    num_changes = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal num_changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _CHANGES or writes:
            num_changes += 1
            if num_changes == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def publish_once(run_dir: LocalFolder, max_rows: int) -> int:
    with open(run_dir.path / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 3
        parts = run_dir / "parts"
        manifest = read_manifest(parts)
        for _ in publish(
            parts=parts,
            manifest=manifest,
            schema=pq.read_schema(parts.path / manifest.receipts[0].file),
            run_dir=run_dir,
            settings=CatalogSettings(name="tiny", max_rows=max_rows),
            provenance={"model": "abc"},
        ):
            pass
    return 0


def start(run_dir: LocalFolder, kill_at: int, max_rows: int) -> int:
    child = os.fork()
    if child == 0:
        kill_before_change(kill_at)
        os._exit(publish_once(run_dir, max_rows))
    return child


def main() -> None:
    run_dir = LocalFolder(Path(sys.argv[1]))
    for line in sys.stdin:
        numbers = [int(word) for word in line.split()]
        children = [start(run_dir, *pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(*codes, flush=True)


if __name__ == "__main__":
    main()
