"""The arrows of the architecture: deploy → train → engine → catalogs, and nothing the other way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import skymetal
from skymetal.deploy.cli import main
from skymetal.deploy.steps import STEPS

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("catalogs", "engine", "train", "deploy")
FORBIDDEN = {
    "catalogs": {"dask", "distributed", "torch", "zarr"},
    "engine": {"torch"},
    "train": set(),
    "deploy": {"torch"},
}
# What a machine without GPUs, a batch system or HDF5 does not have.
OPTIONAL = {
    "cryptography",
    "dask_cuda",
    "dask_jobqueue",
    "dask_kubernetes",
    "h5py",
    "kr8s",
    "obstore",
    "pynvml",
    "MNN",
    "onnx",
    "_tools",
}
# The one function of catalogs that is for users of Dask, and imports it when it is called.
FOR_DASK = "to_dask"
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def loads(tree: ast.AST) -> Iterator[str]:
    """What is loaded by import_module, where the name stands there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
            yield from (word.value for word in node.args if isinstance(word, ast.Constant))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_and_stand_at_the_top(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == FOR_DASK:
            assert set(imports(function)) == {"dask"}
            function.body = []
    for name in (*imports(tree), *loads(tree)):
        parts = name.split(".")
        assert parts[0] not in LAYERS, f"import skymetal.{name}, not {name}: a user's own {parts[0]}.py would shadow it"
        assert parts[0] not in FORBIDDEN[layer], f"{layer} must not import {parts[0]}"
        if parts[0] == "skymetal" and len(parts) > 1:
            assert LAYERS.index(parts[1]) <= LAYERS.index(layer), f"{layer} must not import {name}"
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            hidden = {name.split(".")[0] for name in imports(function)} - OPTIONAL
            assert not hidden, f"{function.name} hides an import of {hidden}"


def test_the_modules_were_found() -> None:
    assert len(MODULES) > 30


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(result.stdout.split())


def test_importing_skymetal_loads_nothing_heavy() -> None:
    assert loaded_by("import skymetal").isdisjoint(
        {"torch", "dask", "distributed", "pyarrow", "duckdb", "pandas", "zarr"}
    )


def test_reading_a_catalogue_needs_neither_dask_nor_torch() -> None:
    assert loaded_by("import skymetal; skymetal.open_catalog").isdisjoint({"torch", "dask", "distributed", "zarr"})


def test_the_engine_needs_no_torch() -> None:
    assert "torch" not in loaded_by("import skymetal.engine.score, skymetal.engine.ingest")


def test_help_and_a_wrong_job_file_do_not_wait_for_what_they_do_not_need() -> None:
    heavy = {"torch", "matplotlib", "astropy", "cdshealpix", "scipy", "sklearn", "pandas", "duckdb"}
    assert loaded_by("import skymetal.deploy.cli").isdisjoint(heavy)


def test_only_what_computes_with_torch_waits_for_it() -> None:
    steps = ", ".join(module for name, module in STEPS.items() if name != "train")
    assert "torch" not in loaded_by(f"import {steps}, skymetal.deploy.planning, skymetal.deploy.proving")


def test_every_step_and_command_is_where_it_is_looked_for() -> None:
    for name, module in STEPS.items():
        assert callable(getattr(import_module(module), name))
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name


def test_the_public_names_are_these() -> None:
    assert sorted(skymetal.__all__) == ["Catalog", "__version__", "open_catalog"]
    for name in skymetal.__all__:
        assert getattr(skymetal, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Catalogue'"):
        skymetal.Catalogue  # noqa: B018
