"""How long each step took, from the events of the run: of the command in which the step was first done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

_COUNTED = {"ingest": ("counted", "num_targets"), "score": ("scored", "num_rows")}
"""The event of a step that says how many galaxies it handled, and the key."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """One step's time.

    num_galaxies is how many it handled in that time, worker_rates the galaxies a second of each worker; None and
    empty where nothing says so. went_on tells that an earlier command had begun the step and was stopped.
    """

    step: str
    seconds: float
    num_galaxies: int | None
    worker_rates: tuple[float, ...]
    went_on: bool

    @property
    def galaxies_per_second(self) -> float | None:
        """Of the whole step, starting the workers included."""
        return self.num_galaxies / self.seconds if self.num_galaxies and self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def read_times(lines: Iterable[bytes | str], steps: Iterable[str]) -> list[StepTime]:
    """Return the time of each of ``steps`` that was done, in their order.

    Later commands find a step done and leave its time alone, so that the same run keeps the same times.
    """
    events = list(_events(lines))
    found = (_first_time([event for event in events if event.get("step") == step], step) for step in steps)
    return [time for time in found if time]


def _first_time(events: list[dict[str, Any]], step: str) -> StepTime | None:
    num_begun = 0
    facts: dict[Any, dict[str, Any]] = {}
    for event in events:
        kind = event.get("event")
        if kind == "began":
            num_begun, facts = num_begun + 1, {}
        elif kind == "ended" and isinstance(event.get("seconds"), int | float):
            return _make_time(step, event["seconds"], facts, went_on=num_begun > 1)
        else:
            facts[kind] = event
    return None


def _make_time(step: str, seconds: float, facts: dict[Any, dict[str, Any]], *, went_on: bool) -> StepTime:
    kind, key = _COUNTED.get(step, ("", ""))
    number = facts.get(kind, {}).get(key)
    # What ingest counts is all that there is, also what an earlier command had done.
    is_of_this_time = isinstance(number, int) and not (went_on and step == "ingest")
    rates = facts.get("scored", {}).get("galaxies_per_second", {})
    return StepTime(
        step=step,
        seconds=float(seconds),
        num_galaxies=number if is_of_this_time else None,
        worker_rates=tuple(sorted(float(rate) for rate in rates.values())) if isinstance(rates, dict) else (),
        went_on=went_on,
    )


def _events(lines: Iterable[bytes | str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # the last words of a killed command
            continue
        if isinstance(event, dict):
            yield event
