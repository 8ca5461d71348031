"""A catalogue in one pass: counted, sampled, and its extremes kept, in memory that does not grow with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.sampling import hash_ids
from skymetal.catalogs.schema import PERCENTILES, UNSHRUNK
from skymetal.catalogs.targets import TargetList
from skymetal.deploy.report.histogram import OH_EDGES, WIDTH_EDGES, Histogram
from skymetal.deploy.report.joined import iter_joined
from skymetal.deploy.report.lowest import LowestRows
from skymetal.deploy.report.sky_counts import SkyCounts
from skymetal.train.evaluation.evaluate import BINNED_BY, TRUTH, ComparisonKind, comparison_kinds
from skymetal.train.evaluation.photometry import MASS

TABLE_ROWS = 2000
"""So many galaxies are on the page, row by row."""
MAX_POINTS = 100_000
"""So many galaxies make a cloud in a chart; where there are more, a random sample of them."""
STRIP = 8
COLUMNS = ("object_id", *PERCENTILES, UNSHRUNK, "oh_std_views", "ood_score", "is_out_of_fold", "flags")
DRAWN = ("object_id", "oh_p50")
SKY_COLUMNS = ("ra", "dec", "_healpix_29")


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Galaxies to be drawn: all ``num_galaxies``, or a random sample of them."""

    num_galaxies: int
    rows: pa.Table

    @property
    def is_sample(self) -> bool:
        """Whether some are left out."""
        return bool(self.rows.num_rows < self.num_galaxies)

    def values(self, name: str) -> NDArray[np.float64] | None:
        """Return (N,) of a column, or None where there is none or no galaxy has it."""
        if name not in self.rows.column_names:
            return None
        value_N = self.numbers(name)
        return value_N if np.isfinite(value_N).any() else None

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return (N,) of a column that is there."""
        return np.asarray(self.rows[name].cast(pa.float64()).to_numpy(), np.float64)


@dataclass(frozen=True, kw_only=True)
class CatalogueSummary:
    """What a report says of a catalogue. flags counts galaxies a flag; strips are the gallery's, by name."""

    num_rows: int
    num_out_of_fold: int
    num_clean: int
    flags: Mapping[Flag, int]
    oh: Histogram
    unshrunk: Histogram
    width_68: Histogram
    sky: SkyCounts | None
    sample: pa.Table
    strips: Mapping[str, pa.Table]
    everything: Cloud
    comparisons: Mapping[str, Cloud]

    def num_with_truth(self, kind: ComparisonKind) -> int:
        """Return how many galaxies of a kind have a truth."""
        return self.comparisons[kind.name].num_galaxies if kind.name in self.comparisons else 0

    def oh_quantile(self, share: float) -> float:
        """Return the prediction below which that share of the galaxies lies; of very many, good to 0.01 dex."""
        if self.everything.is_sample:
            return self.oh.quantile(share)
        return float(np.quantile(self.everything.numbers("oh_p50"), share))


def summarise(catalog: Catalog, targets: TargetList, *, label: str) -> CatalogueSummary:
    """Read the catalogue once beside its target list; the order in which its files lie changes nothing."""
    wanted = dict.fromkeys((label, TRUTH, *BINNED_BY, MASS))
    tables = iter_joined(
        catalog,
        targets,
        columns=[*COLUMNS, *(SKY_COLUMNS if catalog.has_sky else ())],
        target_columns=[name for name in wanted if name in targets.column_names],
    )
    summing = _Summing(kinds=comparison_kinds(label), has_sky=catalog.has_sky)
    for table in tables:
        summing.add(table)
    return summing.result()


class _Summing:
    def __init__(self, *, kinds: tuple[ComparisonKind, ...], has_sky: bool) -> None:
        self._kinds = kinds
        self._counts: Counter[str] = Counter()
        self._flags: Counter[Flag] = Counter()
        self._histograms = [Histogram.empty(edges) for edges in (OH_EDGES, OH_EDGES, WIDTH_EDGES)]
        self._sky = SkyCounts.empty() if has_sky else None
        self._sample = LowestRows(TABLE_ROWS)
        self._strips = {name: LowestRows(STRIP) for name in ("poor", "rich", "uncertain", "strange")}
        self._everything = LowestRows(MAX_POINTS)
        self._comparisons = {kind.name: LowestRows(MAX_POINTS) for kind in kinds}

    def add(self, table: pa.Table) -> None:
        oh_N, unshrunk_N, ood_N = (table[name].to_numpy() for name in ("oh_p50", UNSHRUNK, "ood_score"))
        width_N = table["oh_p84"].to_numpy().astype(np.float64) - table["oh_p16"].to_numpy()
        values = (oh_N, unshrunk_N, width_N)
        self._histograms = [h + Histogram.of(v, h.edges) for h, v in zip(self._histograms, values, strict=True)]
        if self._sky is not None:
            self._sky.add(table["_healpix_29"].to_numpy())
        keys = {"poor": oh_N, "rich": -oh_N, "uncertain": -width_N, "strange": -ood_N}
        for name, key_N in keys.items():
            self._strips[name].add(key_N, table)
        hash_N = hash_ids(table["object_id"].to_numpy())
        self._sample.add(hash_N, table)
        drawn = table.select([name for name in table.column_names if name in DRAWN or name.endswith("_target")])
        self._everything.add(hash_N, drawn)
        self._count(table)
        is_out_of_fold_N = table["is_out_of_fold"].to_numpy()
        for kind in self._kinds:
            column = f"{kind.truth}_target"
            if column in table.column_names:
                has_N = np.isfinite(table[column].to_numpy()) & (is_out_of_fold_N == kind.is_out_of_fold)
                self._comparisons[kind.name].add(hash_N[has_N], drawn.filter(pa.array(has_N)))

    def _count(self, table: pa.Table) -> None:
        flags_N = table["flags"].to_numpy()
        for flag in Flag:
            self._flags[flag] += int(np.count_nonzero(flags_N & flag))
        self._counts["rows"] += table.num_rows
        self._counts["clean"] += int(np.count_nonzero(flags_N == 0))
        self._counts["out_of_fold"] += int(np.count_nonzero(table["is_out_of_fold"].to_numpy()))

    def result(self) -> CatalogueSummary:
        oh, unshrunk, width_68 = self._histograms
        sample, everything = self._sample.table(), self._everything.table()
        if sample is None or everything is None:
            raise RuntimeError("the catalogue holds no galaxy")  # publish refuses to make such a one
        strips = {name: lowest.table() for name, lowest in self._strips.items()}
        clouds = {name: (lowest.num_seen, lowest.table()) for name, lowest in self._comparisons.items()}
        return CatalogueSummary(
            num_rows=self._counts["rows"],
            num_out_of_fold=self._counts["out_of_fold"],
            num_clean=self._counts["clean"],
            flags={flag: number for flag, number in self._flags.items() if number},
            oh=oh,
            unshrunk=unshrunk,
            width_68=width_68,
            sky=self._sky,
            sample=sample,
            strips={name: rows for name, rows in strips.items() if rows is not None}
            | {"random": sample.slice(0, STRIP)},
            everything=Cloud(num_galaxies=self._counts["rows"], rows=everything),
            comparisons={
                n: Cloud(num_galaxies=num, rows=rows) for n, (num, rows) in clouds.items() if rows is not None
            },
        )
