from __future__ import annotations

import json

import pyarrow as pa

from skymetal.deploy.serving.found import Found
from skymetal.deploy.serving.texts import in_texts

ROWS = {
    "object_id": [1237679888707420255],
    "ra": [0.000001],
    "dec": [-1.5],
    "oh_p16": [8.4],
    "oh_p50": [8.51234],
    "oh_p84": [8.6],
    "ood_score": [1.005],
    "flags": [2049],
    "interval": [0.2],
    "separation": [12.345],
}


def test_a_galaxy_is_told_in_texts_its_id_with_all_its_digits() -> None:
    told = json.loads(json.dumps(in_texts(Found(num_found=7, rows=pa.table(ROWS)))))
    assert told["num_found"] == 7
    (row,) = told["rows"]
    assert dict(zip(told["columns"], row, strict=True)) == {
        "object_id": "1237679888707420255",
        "ra": "0.00000",
        "dec": "−1.50000",
        "separation": "12.35",
        "oh_p50": "8.512",
        "interval": "8.40–8.60",
        "ood_score": "1.00",
        "flags": "SATURATED, SCORE_OOD",
    }


def test_a_clean_galaxy_is_clean_and_what_is_not_there_is_not_shown() -> None:
    rows = pa.table({name: values for name, values in ROWS.items() if name not in ("ra", "dec", "separation")})
    rows = rows.set_column(rows.column_names.index("flags"), "flags", pa.array([0]))
    told = in_texts(Found(num_found=1, rows=rows))
    assert told["columns"] == ["object_id", "oh_p50", "interval", "ood_score", "flags"]
    assert told["rows"][0][-1] == "clean"
