"""Job files: TOML in, checked values out. The only module that knows TOML's job format.

Each section is a dataclass owned by the folder that uses it; here its fields are matched, typed and named in errors.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from skymetal.catalogs.errors import InputError, did_you_mean, first_line
from skymetal.catalogs.publishing.publish import CatalogSettings
from skymetal.catalogs.selection.select import TargetSettings
from skymetal.catalogs.storage import is_url, open_file
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.jobs.secrets import refuse_credentials
from skymetal.deploy.jobs.settings import SubmitSettings
from skymetal.engine.images import ImageSettings
from skymetal.engine.score_plan import ScoreSettings
from skymetal.train.evaluation.evaluate import EvaluateSettings
from skymetal.train.settings import TrainSettings

Section = TypeVar("Section")


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """The job file's ``[job]``: where the run leaves its state, and the seed of everything random in it."""

    run_dir: str = field(metadata={"path": True})
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.run_dir or not self.run_dir.isprintable():
            raise InputError(f"[job] run_dir must be the path of a folder, got {self.run_dir!r}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"[job] seed must be 0 to 2^63 - 1, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A whole job file, every value checked."""

    job: JobSettings
    targets: TargetSettings
    images: ImageSettings
    train: TrainSettings
    score: ScoreSettings
    catalog: CatalogSettings
    evaluate: EvaluateSettings
    cluster: ClusterSettings
    submit: SubmitSettings

    def to_toml(self) -> str:
        """Return the job as a complete job file, defaults written out."""
        sections = dataclasses.asdict(self)
        return tomli_w.dumps({name: _without_none(values) for name, values in sections.items()})


def read_job(path: Path | str, assignments: Iterable[str] = ()) -> Job:
    """Read a job file and apply ``section.key=value`` assignments.

    Paths in the file are relative to the file, or, where that is in a bucket, to the working directory, as paths in
    assignments are. Raises InputError for a missing file, broken TOML, an unknown section or key, a value of the wrong
    type or out of its range.
    """
    folder, name = open_file(path)
    try:
        copy = folder.local_copy(name)
    except FileNotFoundError:
        raise InputError(f"job file {path} does not exist; check the path, or see the examples folder") from None
    if not copy.is_file():
        raise InputError(f"job file {path} is no file; name one, as those of the examples folder")
    try:
        content = tomllib.loads(copy.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except (ValueError, RecursionError) as error:
        raise InputError(f"job file {path} is not valid TOML: {_complaint(error)}") from error
    sections = {f.name: typing.get_type_hints(Job)[f.name] for f in dataclasses.fields(Job)}
    values = _resolved_paths(content, sections, Path.cwd() if is_url(path) else copy.parent)
    for name, key, value in map(_parse_assignment, assignments):
        assigned = _resolved_paths({name: {key: value}}, sections, Path.cwd())
        values.setdefault(name, {}).update(assigned[name])
    for name in values:
        if name not in sections:
            raise InputError(f"{path} has an unknown section [{name}]; {did_you_mean(name, sections)}")
    return Job(**{name: _section(name, cls, values.get(name, {})) for name, cls in sections.items()})


def _section(name: str, cls: type[Section], values: Mapping[str, Any]) -> Section:
    if not isinstance(values, Mapping):
        raise InputError(f"[{name}] must be a section of keys, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            raise InputError(f"[{name}] has no key '{key}'; {did_you_mean(key, fields)}")
    required = [k for k, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    for key in required:
        if key not in values:
            raise InputError(f"[{name}] {key} is missing; add it to the job file or give --set {name}.{key}=…")
    refuse_credentials(f"[{name}]", values)
    return cls(**{key: _typed(f"[{name}] {key}", value, hints[key]) for key, value in values.items()})


def _typed(where: str, value: Any, hint: Any) -> Any:
    """Return the value as its field wants it: a list becomes a tuple, an integer may stand for a float."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise InputError(f"{where} must be {_describe(options)}, got a whole number beyond 2^63")
    for option in options:
        if option is float and type(value) in (int, float):
            return float(value)
        if isinstance(option, type) and not typing.get_origin(option) and type(value) is option:
            return value
        if typing.get_origin(option) is tuple and isinstance(value, list):
            return tuple(_typed(where, item, typing.get_args(option)[0]) for item in value)
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return {key: _typed(f"{where}.{key}", item, typing.get_args(option)[1]) for key, item in value.items()}
    raise InputError(f"{where} must be {_describe(options)}, got {value!r}")


_WORDS = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def _describe(options: Iterable[Any]) -> str:
    words = []
    for option in options:
        origin = typing.get_origin(option)
        if option is not type(None):
            words.append(
                'a list, as in ["a", "b"]'
                if origin is tuple
                else "a table of keys"
                if origin is dict
                else _WORDS[option]
            )
    return " or ".join(words)


def _parse_assignment(text: str) -> tuple[str, str, Any]:
    target, equals, raw = text.partition("=")
    section, dot, key = target.strip().partition(".")
    if not (equals and dot and section and key):
        raise InputError(f"--set takes section.key=value, got {text!r}")
    try:
        return section, key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, raw.strip()  # a bare word or path needs no quotes on the command line
    except (ValueError, RecursionError) as error:
        raise InputError(f"--set {target.strip()} has no valid TOML value: {_complaint(error)}") from error


def _complaint(error: Exception) -> str:
    """Return what is wrong with a TOML text; Python's own limits are told in no more words than a user needs."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error).partition(";")[0]


def _resolved_paths(content: dict[str, Any], sections: Mapping[str, Any], base: Path) -> dict[str, Any]:
    resolved = {name: dict(values) if isinstance(values, dict) else values for name, values in content.items()}
    for name, cls in sections.items():
        for f in dataclasses.fields(cls):
            value = resolved[name].get(f.name) if isinstance(resolved.get(name), dict) else None
            if f.metadata.get("path") and value and value not in f.metadata.get("words", ()):
                resolved[name][f.name] = _absolute(value, base)
    return resolved


def _absolute(value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    if not isinstance(value, str) or "://" in value:
        return value
    return str(base / Path(value).expanduser())


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
