"""A target list that is there: whether the job would select it again, found out without reading its tables again.

What the tables were is noted in the run directory: their paths, sizes and times, which are this machine's, beside
their digests, which are all that enters the list. The list's own digest is kept there too: Parquet's checksums cover
its pages, but not the footer that says what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.inputs import refuse_other_inputs
from skymetal.catalogs.selection.settings import TargetSettings
from skymetal.catalogs.selection.survey import selection_inputs
from skymetal.catalogs.storage import Folder, file_digest
from skymetal.catalogs.tables import NoTable, find_tables
from skymetal.catalogs.targets import TargetList

NOTED = "inputs/tables.json"

USED = "inputs/ingest.json"
"""Images were brought in for the list: another list is another run."""
PIN = "inputs/{name}.sha256"

Noted = dict[str, tuple[int, int, str]]
"""By path: size in bytes, time in ns, digest."""


def note_tables(folder: Folder, noted: Noted) -> None:
    """Write down what the tables were when they were read."""
    folder.write(NOTED, json.dumps(noted, indent=1, sort_keys=True).encode())


def pin_list(targets: TargetList) -> None:
    """Keep the digest of a list that has just been written."""
    folder, name = _pin(targets)
    folder.write(name, f"{targets.digest}\n".encode())


def unpin_list(targets: TargetList) -> None:
    """Forget the digest of a list that is about to be written anew."""
    folder, name = _pin(targets)
    folder.remove(name)


def refuse_damaged_list(targets: TargetList) -> None:
    """Raise RuntimeError where a list is not, byte for byte, what select wrote; one without a pin is believed."""
    folder, name = _pin(targets)
    try:
        pinned = folder.read(name).decode(errors="replace").strip()
    except FileNotFoundError:
        return
    if pinned != targets.digest:
        raise RuntimeError(
            f"{targets} is damaged: it is not the list that `skymetal select` wrote, whose sha256 is in "
            f"{folder}/{name}; restore it, or delete it and run `skymetal select` again"
        )


def _pin(targets: TargetList) -> tuple[Folder, str]:
    return targets.folder, PIN.format(name=targets.name)


def refuse_other_selection(targets: TargetList, settings: TargetSettings, *, seed: int, folder: Folder) -> None:
    """Raise InputError where the job's settings, or the contents of a table that is there, are not the list's.

    A table is read only where its size or time is not the one noted. Tables that are gone or have another name now
    are no matter, since the list holds their rows. Raises RuntimeError where the list is damaged.
    """
    refuse_damaged_list(targets)
    before = targets.selection["inputs"]
    digests = before.pop("tables", [])
    remedy = "name another [job] run_dir" if folder.exists(USED) else f"delete {targets} to select again"
    inputs = selection_inputs(settings, seed=seed)
    refuse_other_inputs(before, inputs, where=f"{targets} was selected", remedy=remedy)
    remedy += ", or restore what was there"
    noted = _read_noted(folder)
    now = {str(path): _noted_now(path, noted) for path in _tables_there(settings)}
    for name, (_, _, digest) in now.items():
        if digest not in digests:
            raise InputError(
                f"{targets} was selected from other tables: {printable(name)} is new, or has changed since; {remedy}"
            )
    found = {digest for _, _, digest in now.values()}
    for name, note in noted.items():
        if note[2] in digests and note[2] not in found and _fingerprint(Path(name)) == note[:2]:
            raise InputError(
                f"{targets} was selected from {printable(name)} too, which [targets] tables does not name now; {remedy}"
            )
    if noted != noted | now:
        note_tables(folder, noted | now)


def _tables_there(settings: TargetSettings) -> list[Path]:
    paths = []
    for name in settings.tables:
        try:
            paths += find_tables([name])
        except NoTable:
            continue
    return paths


def _noted_now(path: Path, noted: Mapping[str, tuple[int, int, str]]) -> tuple[int, int, str]:
    size, time = _fingerprint(path)
    note = noted.get(str(path))
    return note if note and note[:2] == (size, time) else (size, time, file_digest(path))


def _read_noted(folder: Folder) -> Noted:
    """Return the notes; none where they are not there or damaged, since the tables can be read instead."""
    try:
        record = json.loads(folder.read(NOTED))
        return {str(name): (int(size), int(time), str(digest)) for name, (size, time, digest) in record.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _fingerprint(path: Path) -> tuple[int, int]:
    """Return size and time; of a file that is gone those of none."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns
