"""The state of a job as its driver writes it: one small file, replaced whole."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from skymetal.catalogs.storage import Folder

STATE = "state.json"
CANCEL = "CANCEL"
TERMINAL = "terminal"

# What a driver writes. Watchers see three more: stopping, lost, damaged (watch.py).
WAITING, RUNNING, STOPPED, FAILED, DONE = "waiting", "running", "stopped", "failed", "done"
_WRITTEN = (WAITING, RUNNING, STOPPED, FAILED, DONE)
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a step is: done of total units, units a second, and the seconds left at that rate."""

    done: int
    total: int
    unit: str
    rate: float = 0.0
    eta_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What the driver last said of a job.

    dashboard is Dask's page, on the loopback of the scheduler's machine; epoch is that of the driver's lease;
    heartbeat is that moment, in seconds since 1970 by the driver's clock.
    """

    state: str
    steps: tuple[str, ...] = ()
    step: str = ""
    progress: Progress | None = None
    runner: str = TERMINAL
    submission: int = 0
    epoch: int = 0
    host: str = ""
    pid: int = 0
    dashboard: str = ""
    reason: str = ""
    result: str = ""
    heartbeat: float = 0.0

    def __post_init__(self) -> None:
        if self.state not in _WRITTEN:
            raise ValueError(f"state must be one of {', '.join(_WRITTEN)}, got {self.state!r}")


def refuse_other_types(value: Any) -> None:
    """Raise ValueError where a field of a dataclass that was read from a file is not what it is declared to be."""
    for name, hint in get_type_hints(type(value)).items():
        given = getattr(value, name)
        if hint == tuple[str, ...]:
            is_right = isinstance(given, tuple) and all(isinstance(item, str) for item in given)
        elif hint is float or hint == float | None:  # an integer may stand for a float; a time must be one
            is_right = (given is None and hint is not float) or (isinstance(given, int | float) and abs(given) < 1e11)
        else:
            is_right = isinstance(given, hint)
        if not is_right:
            raise ValueError(f"{name} is {given!r}")


def write_state(folder: Folder, state: JobState, *, flush: bool = True) -> None:
    """Replace the state file, with the time; without flush it may be lost with the machine."""
    content = asdict(replace(state, heartbeat=round(time.time(), 1)))
    folder.write(STATE, json.dumps(content, sort_keys=True, indent=1).encode(), flush=flush)


def read_state(folder: Folder) -> JobState | None:
    """Return the state on file, or None where no driver has begun. Raises ValueError where the file is damaged."""
    try:
        content = json.loads(folder.read(STATE, max_bytes=_MAX_BYTES))
        known = {field.name for field in fields(JobState)}
        values = {key: value for key, value in content.items() if key in known}
        progress = values.pop("progress", None)
        state = JobState(
            **values | {"steps": tuple(values["steps"]), "progress": Progress(**progress) if progress else None}
        )
        for read in (state, *([state.progress] if state.progress else [])):
            refuse_other_types(read)
        return state
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder}/{STATE} is damaged ({error}); delete it, and run or resume the job") from error
