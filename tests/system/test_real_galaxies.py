"""Real SDSS galaxies through the examples' own job files, small: the README quotes the full size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import runs

import skymetal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = ["--set", "images.size_pix=32", "--set", "score.views=2"]


def test_real_galaxies_are_predicted_out_of_fold_and_others_scored_with_the_same_ensemble(
    real_data: Path, tmp_path: Path
) -> None:
    known, new = real_data / "sdss-oh", real_data / "sdss-unlabelled"
    result = runs.run(
        *("run", EXAMPLES / "sdss-folder.toml", *SMALL, "--set", "train.num_folds=2", "--set", "train.num_epochs=6"),
        *("--set", f"job.run_dir={tmp_path / 'known'}", "--set", f'targets.tables=["{known}/labels.csv"]'),
        *("--set", f"images.folder={known}/images"),
    )
    assert result.returncode == 0, result.stderr
    assert "no cone search" in result.stdout
    catalogue = skymetal.open_catalog(tmp_path / "known").to_pandas()
    assert len(catalogue) == 400
    assert catalogue["is_out_of_fold"].all()
    (numbers,) = json.loads((tmp_path / "known" / "evaluation.json").read_text())
    assert numbers["rmse_of_mean"] == pytest.approx(0.1996, abs=1e-4)
    assert numbers["rmse"] < 0.16

    result = runs.run(
        *("run", EXAMPLES / "sdss-score.toml", *SMALL, "--set", f"score.ensemble={tmp_path / 'known' / 'ensemble'}"),
        *("--set", f"job.run_dir={tmp_path / 'new'}", "--set", f'targets.tables=["{new}/morphology.csv"]'),
        *("--set", f"images.folder={new}/images"),
    )
    assert result.returncode == 0, result.stderr
    scored = skymetal.open_catalog(tmp_path / "new").to_pandas()
    assert len(scored) == 600
    assert not scored["is_out_of_fold"].any()
    assert scored["oh_p50"].between(7.5, 9.6).all()
