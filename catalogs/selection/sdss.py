"""The SDSS database: the paper's query for CasJobs, and small samples by SkyServer's SQL service.

The columns come out under our own names, so a table made with the query needs no ``[targets] columns``.
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import skymetal
from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.inputs import claim_inputs
from skymetal.catalogs.selection.cuts import WU_BOADA_2019, Between, Measured
from skymetal.catalogs.selection.rows import SENTINEL
from skymetal.catalogs.storage import Folder, digest
from skymetal.catalogs.web.answers import FetchFailed
from skymetal.catalogs.web.http import FetchLimits, fetch_patiently

SKYSERVER_URL = "https://skyserver.sdss.org/dr17/SkyServerWS/SearchTools/SqlSearch"
SKYSERVER_MAX_ROWS = 500_000
SKYSERVER_CSV = "skyserver.csv"
# The service's own limits: 60 queries a minute, 500 000 rows, 600 s. A row takes some 600 bytes.
_LIMITS = FetchLimits(max_bytes=512 << 20, deadline_s=660.0, attempts=3, backoff_s=5.0, total_s=2000.0)

_LINES = ("nii_6584", "h_alpha", "oiii_5007", "h_beta", "h_delta")
_FROM = {
    "SpecObj AS S": "",
    "Galaxy AS G": "G.objID = S.bestObjID",
    "GalSpecInfo AS GSI": "GSI.specObjID = S.specObjID",
    "GalSpecLine AS GSL": "GSL.specObjID = S.specObjID",
    "GalSpecIndx AS GSX": "GSX.specObjID = S.specObjID",
    "GalSpecExtra AS GSE": "GSE.specObjID = S.specObjID",
}
_COLUMNS = {
    "object_id": "G.objID",
    "specObjID": "S.specObjID",
    "ra": "G.ra",
    "dec": "G.dec",
    "redshift": "S.z",
    **{name: f"S.{name}" for name in ("zErr", "velDisp", "velDispErr", "rChi2")},
    "petroMag_r": "G.petroMag_r",
    **{f"modelMag{kind}_{band}": f"G.modelMag{kind}_{band}" for band in "ugriz" for kind in ("", "Err")},
    **{name: f"G.{name}" for name in ("petroR50_r", "petroR90_r")},
    **{f"{line}_flux{kind}": f"GSL.{line}_flux{kind}" for line in _LINES for kind in ("", "_err")},
    **{name: f"GSX.{name}" for name in ("d4000", "d4000_err")},
    "bptclass": "GSE.bptclass",
    **{name: f"GSE.{name}" for name in ("oh_p2p5", "oh_p16", "oh_p50", "oh_p84", "oh_p97p5")},
    **{name: f"GSE.{name}" for name in ("lgm_tot_p50", "sfr_tot_p50")},
}


def casjobs_sql(limit: int | None = None) -> str:
    """Return the query for the sample of Wu & Boada (2019), its conditions those of the cut ``wu-boada-2019``.

    It is ready for CasJobs, in the context DR14 (the paper's) or later; with a ``limit`` it is for SkyServer, which
    returns the rows instead of keeping them in a table.
    """
    columns = ",\n".join(f"  {source} AS {name}" for name, source in _COLUMNS.items())
    tables = "\n".join(f"  JOIN {table} ON {on}" if on else f"FROM {table}" for table, on in _FROM.items())
    conditions = "\n  AND ".join(_condition(cut) for cut in WU_BOADA_2019)
    into = "INTO mydb.skymetal_targets\n" if limit is None else ""
    top = "" if limit is None else f" TOP {limit}"
    return f"SELECT{top}\n{columns}\n{into}{tables}\nWHERE {conditions}\n"


def check_skyserver_url(url: str) -> None:
    """Raise InputError for an address that is not https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    is_here = host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    if not (host and (parts.scheme == "https" or (parts.scheme == "http" and is_here))):
        raise InputError(f"[targets] skyserver_url must begin with https:// and name a host, got {printable(url)!r}")
    if "@" in parts.netloc or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise InputError(
            f"[targets] skyserver_url must be an address without user, query or blanks, got {printable(url)!r}"
        )


def fetch_sample(folder: Folder, *, num_rows: int, url: str) -> Path:
    """Fetch a sample into ``skyserver.csv`` once, whole or not at all; return the file.

    Raises InputError where the service refuses the query or cannot be reached, with its words, and where the file
    that is there was fetched with another ``num_rows`` or from another ``url``.
    """
    sql = casjobs_sql(num_rows)
    inputs = {"skyserver_rows": num_rows, "skyserver_url": url, "sql_digest": digest(sql.encode())}
    if not folder.exists(SKYSERVER_CSV):
        address = f"{url}?{urlencode({'cmd': sql, 'format': 'csv'})}"
        agent = f"skymetal/{skymetal.__version__}"
        try:
            fetched = fetch_patiently(address, limits=_LIMITS, user_agent=agent)
            _refuse_words(fetched.body, url)
            if not fetched.is_whole_known:  # a part of a CSV file looks like a whole one
                raise FetchFailed("the answer does not say how long it is, so it may be cut short")
        except FetchFailed as error:
            words = _words(error.body)
            raise InputError(
                f"SkyServer at {url} gave no sample: {printable(str(error))}"
                f"{f', and says: {words}' if words else ''}; run the same command again later, or "
                "make the table with `skymetal select --sql` and CasJobs"
            ) from error
        claim_inputs(folder, "skyserver", inputs)
        folder.write(SKYSERVER_CSV, fetched.body)
    claim_inputs(folder, "skyserver", inputs)
    return folder.local_copy(SKYSERVER_CSV)


def _condition(cut: Between | Measured) -> str:
    match cut:
        case Between():
            value = _COLUMNS[cut.column] if cut.minus is None else f"({_COLUMNS[cut.column]} - {_COLUMNS[cut.minus]})"
            bounds = ((">", cut.low), ("<", cut.high))
            return " AND ".join(f"{value} {sign} {bound:g}" for sign, bound in bounds if bound is not None)
        case Measured():
            return f"{_COLUMNS[cut.column]} != {SENTINEL}"


def _refuse_words(data: bytes, url: str) -> None:
    """Raise InputError where the answer is not the table: the service says its errors in HTML or JSON, with 200."""
    lines = data[:4096].decode("utf-8", errors="replace").lstrip("\ufeff").splitlines()
    if lines and lines[0].startswith("#"):
        lines = lines[1:]
    header = lines[0].split(",") if lines else []
    missing = [name for name in _COLUMNS if name not in header]
    if not missing:
        return
    if len(missing) < len(_COLUMNS):
        raise InputError(f"SkyServer at {url} answered with a table that has no column {missing[0]}")
    raise InputError(f"SkyServer at {url} answered with no table but: {_words(data) or 'nothing'}")


def _words(data: bytes) -> str:
    """Return what a page or a JSON error says, in at most 300 characters."""
    text = data[: 1 << 16].decode("utf-8", errors="replace")
    try:
        answer = json.loads(text)
    except ValueError:
        text = re.sub(r"(?is)<(script|style|head)\b.*?</\1>", " ", text)
        text = unescape(re.sub(r"(?s)<[^>]*>", " ", text))
    else:
        if isinstance(answer, dict):
            text = next((str(answer[key]) for key in ("ErrorMessage", "message", "error") if answer.get(key)), text)
    text = printable(" ".join(text.split()))
    return text if len(text) <= 300 else text[:299] + "…"
