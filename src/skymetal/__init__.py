"""skymetal: gas-phase metallicities, 12+log(O/H), from a sky survey's galaxy images.

The package is four folders, and imports point one way: ``deploy → train → engine → catalogs``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skymetal.catalogs.catalog import Catalog as Catalog
    from skymetal.catalogs.catalog import open_catalog as open_catalog

__version__ = "0.1.0"
__all__ = ["Catalog", "__version__", "open_catalog"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: duckdb and pyarrow would slow every worker's start.
    if name in ("Catalog", "open_catalog"):
        return getattr(import_module("skymetal.catalogs.catalog"), name)
    raise AttributeError(f"module 'skymetal' has no attribute {name!r}")
