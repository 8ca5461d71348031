"""What the job file says of targets, checked as soon as it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from skymetal.catalogs.errors import InputError, did_you_mean
from skymetal.catalogs.selection.cuts import CUTS
from skymetal.catalogs.selection.rows import GROUP_ID, HEALPIX
from skymetal.catalogs.selection.sdss import SKYSERVER_MAX_ROWS, SKYSERVER_URL, check_skyserver_url

SIMULATED = "simulated"
LEGACY = "legacy"
SDSS = "sdss"


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """The job file's ``[targets]``.

    survey names the survey: ``sdss``; ``legacy``, whose sweep and tractor tables are understood; ``simulated``, which
    makes one of ``num_galaxies`` and reads no table; or any other. tables are files, folders or patterns. columns
    maps our names to the table's, as in ``{object_id = "objID"}``; RA and DEC need no mapping, whatever their case.
    Other columns keep their names and are carried along, but of a legacy table, which has some hundred and fifty, only
    those that :func:`adapt_legacy` lists: map any others to keep them. cuts names a set of conditions. skyserver_rows,
    with survey sdss and no tables, fetches so many galaxies from the SQL service at ``skyserver_url``.
    """

    survey: str
    tables: tuple[str, ...] = field(default=(), metadata={"path": True})
    columns: dict[str, str] = field(default_factory=dict)
    cuts: str = "none"
    num_galaxies: int = 0
    skyserver_rows: int = 0
    skyserver_url: str = SKYSERVER_URL

    def __post_init__(self) -> None:
        if not self.survey or not self.survey.isprintable():
            raise InputError(f"[targets] survey must name the survey, as in 'sdss', got {self.survey!r}")
        if self.cuts not in CUTS:
            raise InputError(f"[targets] cuts must be one of {', '.join(CUTS)}, got {self.cuts!r}")
        if self.cuts == "legacy-galaxies" and self.survey != LEGACY:
            raise InputError(
                f"[targets] cuts = 'legacy-galaxies' needs survey = 'legacy', got survey = {self.survey!r}; "
                "name the survey, or other cuts"
            )
        self._check_columns()
        if self.survey == SIMULATED:
            self._check_simulated()
        elif self.num_galaxies:
            raise InputError(
                f"[targets] num_galaxies = {self.num_galaxies} is for survey = 'simulated' only, got survey = "
                f"{self.survey!r}; remove it{self._hint()}"
            )
        if self.skyserver_rows or self.skyserver_url != SKYSERVER_URL:
            self._check_skyserver()
        elif self.survey != SIMULATED and not self.tables:
            raise InputError(
                "[targets] tables names no survey table; give at least one CSV, Parquet, FITS or VOTable file, or a "
                f"folder of them{self._hint()}"
            )
        if "" in self.tables:
            raise InputError("[targets] tables has an empty name; remove it")

    def _check_columns(self) -> None:
        mapped: dict[str, str] = {}
        for ours, theirs in self.columns.items():
            if not ours or not theirs:
                raise InputError(f"[targets] columns maps {ours!r} to {theirs!r}; both must name a column")
            if ours in (HEALPIX, GROUP_ID):
                raise InputError(f"[targets] columns: {ours!r} is a column that select makes; choose another name")
            if theirs in mapped:
                raise InputError(
                    f"[targets] columns maps {theirs!r} to two names, {mapped[theirs]!r} and {ours!r}; keep one"
                )
            mapped[theirs] = ours

    def _check_simulated(self) -> None:
        if self.tables:
            raise InputError(
                "[targets] survey = 'simulated' makes its own table; remove tables, or name the real survey"
            )
        if self.columns:
            raise InputError("[targets] survey = 'simulated' has our column names already; remove columns")
        if self.num_galaxies < 1:
            raise InputError(f"[targets] num_galaxies must be at least 1, got {self.num_galaxies}")

    def _check_skyserver(self) -> None:
        if self.skyserver_rows == 0:
            raise InputError("[targets] skyserver_url is of no use without skyserver_rows; give it, or remove the URL")
        if not 1 <= self.skyserver_rows <= SKYSERVER_MAX_ROWS:
            raise InputError(
                f"[targets] skyserver_rows must be 1 to {SKYSERVER_MAX_ROWS}, got {self.skyserver_rows}; a larger "
                "sample comes from CasJobs: `skymetal select --sql` prints the query"
            )
        if self.survey != SDSS:
            raise InputError(
                f"[targets] skyserver_rows fetches from SDSS, but survey = {self.survey!r}; set survey = 'sdss', or "
                "remove skyserver_rows"
            )
        if self.tables:
            raise InputError("[targets] has both tables and skyserver_rows; keep the one to select from")
        check_skyserver_url(self.skyserver_url)

    def _hint(self) -> str:
        """Return a guess at a mistyped survey: only a near miss of 'simulated' explains what is missing."""
        near = did_you_mean(self.survey, [SIMULATED])
        return f" ({near.rstrip('?')} for survey?)" if near.startswith("did you mean") else ""
