from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.settings import TargetSettings


@pytest.mark.parametrize(
    "settings",
    [
        {"survey": "sdss", "tables": ("x.csv",), "columns": {"object_id": "objID"}, "cuts": "wu-boada-2019"},
        {"survey": "legacy", "tables": ("sweep-*.fits",), "cuts": "legacy-galaxies"},
        {"survey": "another", "tables": ("x.csv",)},
        {"survey": "simulated", "num_galaxies": 1},
        {"survey": "sdss", "skyserver_rows": 500_000},
        {"survey": "sdss", "skyserver_rows": 1, "skyserver_url": "http://127.0.0.1:8000/sql"},
        {"survey": "sdss", "skyserver_rows": 1, "skyserver_url": "http://[::1]:8000/"},
        {"survey": "sdss", "skyserver_rows": 1, "skyserver_url": "https://skyserver.sdss.org/dr18/SqlSearch"},
    ],
)
def test_settings_that_make_sense_exist_and_survive_being_written_out(settings: dict[str, Any]) -> None:
    made = TargetSettings(**settings)
    assert TargetSettings(**dataclasses.asdict(made)) == made


SDSS = {"survey": "sdss", "skyserver_rows": 5}
TABLE = {"survey": "sdss", "tables": ("x.csv",)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"survey": "sdss"}, "tables names no survey table"),
        (
            {"survey": "simulatd", "num_galaxies": 5},
            r"is for survey = 'simulated' only.*did you mean 'simulated' for survey",
        ),
        ({"survey": "simulate"}, "tables names no survey table.*did you mean 'simulated' for survey"),
        ({"survey": ""}, "survey must name the survey"),
        ({"survey": "sd\nss", "tables": ("x.csv",)}, r"survey must name the survey, as in 'sdss', got 'sd\\nss'"),
        ({"survey": "sdss", "tables": ("x.csv", "")}, "tables has an empty name"),
        (TABLE | {"cuts": "wu"}, "cuts must be one of none, wu-boada-2019, legacy-galaxies, got 'wu'"),
        (TABLE | {"cuts": "legacy-galaxies"}, "needs survey = 'legacy', got survey = 'sdss'"),
        (
            TABLE | {"num_galaxies": 5},
            "num_galaxies = 5 is for survey = 'simulated' only, got survey = 'sdss'; remove it$",
        ),
        (TABLE | {"columns": {"a": "x", "b": "x"}}, "maps 'x' to two names, 'a' and 'b'; keep one"),
        (TABLE | {"columns": {"a": ""}}, "maps 'a' to ''; both must name a column"),
        (TABLE | {"columns": {"_healpix_29": "pix"}}, "'_healpix_29' is a column that select makes"),
        (TABLE | {"columns": {"group_id": "grp"}}, "'group_id' is a column that select makes"),
        ({"survey": "simulated", "num_galaxies": 0}, "num_galaxies must be at least 1"),
        ({"survey": "simulated", "num_galaxies": 5, "tables": ("x.csv",)}, "makes its own table"),
        ({"survey": "simulated", "num_galaxies": 5, "columns": {"a": "b"}}, "has our column names already"),
        ({"survey": "simulated", "num_galaxies": 5, "skyserver_rows": 5}, "skyserver_rows fetches from SDSS"),
        ({"survey": "legacy", "skyserver_rows": 5}, "skyserver_rows fetches from SDSS, but survey = 'legacy'"),
        (TABLE | {"skyserver_rows": 5}, "has both tables and skyserver_rows"),
        (SDSS | {"skyserver_rows": -1}, "skyserver_rows must be 1 to 500000, got -1"),
        (SDSS | {"skyserver_rows": 500_001}, "skyserver_rows must be 1 to 500000, got 500001.*select --sql"),
        (TABLE | {"skyserver_url": "https://x.org/"}, "skyserver_url is of no use without skyserver_rows"),
        (SDSS | {"skyserver_url": "http://skyserver.sdss.org/"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "http://127.0.0.1.evil.org/"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "ftp://127.0.0.1/"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "file:///etc/passwd"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "https://[::1"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "https://x.org:99999/"}, "skyserver_url must begin with https://"),
        (SDSS | {"skyserver_url": "https://user@x.org/"}, "without user, query or blanks"),
        (SDSS | {"skyserver_url": "https://x.org/?cmd=1"}, "without user, query or blanks"),
    ],
)
def test_settings_that_make_no_sense_cannot_exist(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        TargetSettings(**settings)
    assert str(caught.value).isprintable()
