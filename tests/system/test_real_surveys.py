"""Real tables and images of SDSS and DECaLS, from the command line as a user would."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from support import runs

from skymetal.catalogs.flags import Flag
from skymetal.catalogs.selection.legacy import legacy_key
from skymetal.catalogs.targets import open_targets
from skymetal.engine.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CLUSTER = '[cluster]\nkind = "local-cpu"\nnum_workers = 1\n'


def test_sweeps_and_tractor_tables_select_and_what_only_looks_like_one_is_refused_by_name(
    real_data: Path, tmp_path: Path
) -> None:
    tables = real_data / "legacy-tables"
    job = runs.write_job(
        tmp_path,
        f"""
[job]
run_dir = "run"
[targets]
survey = "legacy"
tables = ["{tables}/sweep-*.fits", "{tables}/tractor-*.fits"]
cuts = "legacy-galaxies"
[images]
source = "mosaic"
folder = "none"
pattern = "{{brickname}}-{{band}}.fits"
size_rule = "fixed"
pixel_scale_arcsec = 0.262
""",
    )
    result = runs.run("select", job)
    assert result.returncode == 0, result.stderr
    targets = open_targets(tmp_path / "run" / "targets.parquet")
    selection = targets.selection
    removed = sum(cut["num_removed"] for cut in selection["removed"])
    assert selection["rows_in"] == 36 == targets.num_rows + removed
    table = targets.read(0, targets.num_rows)
    assert np.all(np.diff(table["_healpix_29"].to_numpy()) >= 0)
    release, brickid, objid = legacy_key(table["object_id"].to_numpy())
    assert release.tolist() == table["release"].to_pylist()
    assert brickid.tolist() == table["brickid"].to_pylist()
    assert objid.tolist() == table["objid"].to_pylist()
    for name in ("not_a_sweep_file.txt", "not_a_tractor_file.txt"):
        elsewhere = ["--set", f'targets.tables=["{tables}/{name}"]', "--set", f"job.run_dir={tmp_path}/other"]
        result = runs.run("select", job, *elsewhere)
        assert result.returncode == 2
        assert name in result.stderr
        assert result.stderr.count("\n") == 1


def test_decals_cutouts_are_stored_flagged_or_quarantined_by_name(real_data: Path, tmp_path: Path) -> None:
    cutouts = tmp_path / "cutouts"
    cutouts.mkdir()
    for object_id, name in (
        (1, "decals-fits/example_a"),
        (2, "decals-fits/example_bad_pix"),
        (3, "bad/truncated-decals"),
    ):
        (cutouts / f"{object_id}.fits").symlink_to(real_data / f"{name}.fits")
    (tmp_path / "galaxies.csv").write_text("object_id\n1\n2\n3\n4\n")
    job = runs.write_job(
        tmp_path,
        f"""
[job]
run_dir = "run"
[targets]
survey = "decals"
tables = ["galaxies.csv"]
[images]
source = "fits"
folder = "cutouts"
bands = ["z", "r", "g"]
input_size_pix = 424
size_pix = 64
shard_size = 4
chunk_size = 4
{CLUSTER}""",
    )
    assert runs.run("select", job).returncode == 0
    result = runs.run("ingest", job)
    assert result.returncode == 0, result.stderr
    assert "ingest: 4 targets = 2 stored + 2 quarantined" in result.stdout
    receipt = open_store(tmp_path / "run" / "store.zarr").read_receipt(0).to_pylist()
    assert [row["is_stored"] for row in receipt] == [True, True, False, False]
    assert receipt[0]["ingest_flags"] == 0
    assert receipt[1]["ingest_flags"] & Flag.BAD_PIXELS
    assert receipt[0]["pixel_scale_arcsec"] == pytest.approx(0.1 * 424 / 64)
    with open(tmp_path / "run" / "quarantine.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["object_id"], row["source"]) for row in rows] == [("3", "3.fits"), ("4", "4.fits")]
    assert "short data" in rows[0]["reason"]
    assert rows[1]["reason"] == "no such file"


def test_frames_of_sdss_give_a_cutout_to_every_galaxy_they_hold(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "galaxies.csv").write_text(
        "object_id,ra,dec,petroR90_r\n"
        "1,313.14716,-5.71101,30\n2,313.12388,-5.74612,30\n3,313.10820,-5.77227,25\n4,200,10,20\n5,313.14,-5.72,\n"
    )
    job = runs.write_job(
        tmp_path,
        f"""
[job]
run_dir = "run"
[targets]
survey = "sdss"
tables = ["galaxies.csv"]
[images]
source = "mosaic"
folder = "{real_data}/sdss-fits"
pattern = "reprojected_sdss_{{band}}.fits.bz2"
size_pix = 64
shard_size = 8
chunk_size = 8
{CLUSTER}""",
    )
    assert runs.run("select", job).returncode == 0
    result = runs.run("ingest", job)
    assert result.returncode == 0, result.stderr
    assert "ingest: 5 targets = 3 stored + 2 quarantined" in result.stdout
    store = open_store(tmp_path / "run" / "store.zarr")
    block, receipt = store.read_block(0), store.read_receipt(0)
    rows = {row["object_id"]: number for number, row in enumerate(receipt.to_pylist())}
    assert receipt["pixel_scale_arcsec"].to_pylist()[rows[1]] == pytest.approx(5.05 * 30 / 64)
    assert receipt["reason"].to_pylist()[rows[4]].startswith("outside:")
    assert block.images[rows[1]][28:36, 28:36].mean() > 2 * block.images[rows[1]][:8, -8:].mean()
