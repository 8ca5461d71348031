"""What a report is made from: all that it reads of a run, but for the catalogue's rows and the pictures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.csv
from numpy.typing import NDArray

import skymetal
from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import read_claim
from skymetal.catalogs.storage import Folder, digest
from skymetal.catalogs.targets import TargetList
from skymetal.deploy import run_directory as names
from skymetal.deploy.report.timing import StepTime, read_times
from skymetal.deploy.run import Run
from skymetal.deploy.scoring import MONITOR
from skymetal.engine.store import CutoutStore
from skymetal.train.card import describe_ensemble

MEASURED_STEPS = ("select", "ingest", "train", "score", "publish", "evaluate")
NUM_SHOWN = 20
_OWN = re.compile(r'^contact = ".+"$', flags=re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class EnsembleFacts:
    """The ensemble that scored; label_N are the metallicities it learnt from."""

    digest: str
    num_members: int
    recipe: str
    software: str
    is_own: bool
    label_N: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """How many galaxies the catalogue lacks, why, and the first of them: object_id, source, reason."""

    num_galaxies: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    first: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All that is known of a run. What it has not got is None, empty, or as a step that was not done leaves it."""

    catalog: Catalog
    targets: TargetList
    store: CutoutStore | None
    ensemble: EnsembleFacts | None
    label: str
    job_toml: str
    quarantine: Quarantine
    comparisons: Sequence[Mapping[str, Any]]
    monitor: Mapping[str, Any] | None
    times: Sequence[StepTime]

    def inputs(self) -> dict[str, Any]:
        """Return what names everything that the page depends on, its own code included."""
        return {
            "catalogue": self.catalog.version,
            "targets": self.targets.digest,
            "store": self.store.digest if self.store else "",
            "ensemble": self.ensemble.digest if self.ensemble else "",
            "label": self.label,
            "job": digest(self.job_toml.encode()),
            "quarantine": _digest_of([dict(self.quarantine.reasons), list(self.quarantine.first)]),
            "evaluation": _digest_of(list(self.comparisons)),
            "monitor": _digest_of(self.monitor),
            "times": [time.to_dict() for time in self.times],
            "skymetal": skymetal.__version__,
        }


def gather_facts(run: Run) -> RunFacts:
    """Read a run. Raises InputError where no catalogue is published yet."""
    folder = run.directory.folder
    catalog = open_catalog(run.folder)
    return RunFacts(
        catalog=catalog,
        targets=run.targets,
        store=_store(run),
        ensemble=_ensemble(run),
        label=run.job.train.labels[0],
        job_toml=_OWN.sub('contact = "(left out)"', run.job.to_toml()),
        quarantine=read_quarantine(folder),
        comparisons=_comparisons(folder, catalog),
        monitor=json.loads(folder.read(MONITOR)) if folder.exists(MONITOR) else None,
        times=read_times(folder.read("events.jsonl").splitlines(), MEASURED_STEPS),
    )


def read_quarantine(folder: Folder) -> Quarantine:
    """Sum up quarantine.csv, a piece at a time; where there is none, nothing is quarantined."""
    if not folder.exists(names.QUARANTINE):
        return Quarantine()
    reasons: Counter[str] = Counter()
    first: list[tuple[str, str, str]] = []
    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("object_id", "source", "reason"), "string"))
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    stream = folder.filesystem.open_input_stream(folder.arrow_path(names.QUARANTINE))
    with pyarrow.csv.open_csv(stream, convert_options=text, parse_options=parsing) as reader:
        for batch in reader:
            rows = list(zip(*(batch[name].to_pylist() for name in ("object_id", "source", "reason")), strict=True))
            reasons.update(_kind_of_reason(reason) for _, _, reason in rows)
            first += rows[: NUM_SHOWN - len(first)]
    return Quarantine(num_galaxies=reasons.total(), reasons=dict(sorted(reasons.items())), first=first)


def _kind_of_reason(reason: str) -> str:
    """What comes after a colon is of one galaxy."""
    return "could not be scored" if reason.startswith("scoring:") else reason.split(":")[0]


def _store(run: Run) -> CutoutStore | None:
    try:
        return run.store
    except InputError:  # deleted once the catalogue was there: it is the largest thing of a run
        return None


def _ensemble(run: Run) -> EnsembleFacts | None:
    try:
        card = describe_ensemble(run.ensemble)
        truth = card.read_out_of_fold()[f"{card.labels[0]}_true"]
    except (InputError, FileNotFoundError):  # moved away or deleted since
        return None
    return EnsembleFacts(
        digest=card.digest,
        num_members=card.num_members,
        recipe=card.recipe.name,
        software=", ".join(f"{name} {version}" for name, version in card.software.items()),
        is_own=not run.job.score.ensemble,
        label_N=np.asarray(truth.to_numpy(), np.float64),
    )


def _comparisons(folder: Folder, catalog: Catalog) -> list[dict[str, Any]]:
    """Return evaluation.json, unless it is of an older catalogue."""
    record = read_claim(folder, "evaluate")
    inputs, files = record.get("inputs") or {}, record.get("files") or {}
    if inputs.get("catalogue") != catalog.version or names.EVALUATION not in files:
        return []
    return list(json.loads(folder.read(names.EVALUATION)))


def _digest_of(value: Any) -> str:
    return digest(json.dumps(value, sort_keys=True).encode())
