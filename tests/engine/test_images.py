from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.engine.images import SOURCES, ImageSettings, make_source

PATTERN = "frame-{band}-*.fits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "folders"}, "source must be one of folder, fits, mosaic, array, sdss, legacy, simulated, got"),
        ({"folder": ""}, "folder is missing; name where source = 'folder' finds its images"),
        ({"source": "mosaic", "pattern": ""}, "pattern is missing; name the frames of one band each"),
        ({"bands": ("r", "g")}, "bands must name 3 bands"),
        ({"bands": ("r", "g", "r")}, "bands must differ"),
        ({"bands": ("r", "g", "../x")}, "names of letters and digits"),
        ({"size_pix": 0}, "size_pix must be at least 1, got 0"),
        ({"shard_size": 10, "chunk_size": 4}, "multiple of chunk_size, got 10 and 4"),
        ({"crop_pix": 400}, "crop_pix must be 1 to input_size_pix, got 400 of 128"),
        ({"shard_size": 0}, "shard_size must be at least 1, got 0"),
        ({"chunk_size": 2**20}, r"a shard of chunk_size = 1048576 cutouts .* 48\.0 GiB in memory, at most 4"),
        ({"shard_size": 2**20}, r"48\.0 GiB in memory, at most 4"),
        ({"dtype": "float64"}, "dtype must be one of uint8, float32, got 'float64'"),
        ({"dtype": "float32"}, "source = 'folder' gives pictures, not flux"),
        ({"dtype": "float32", "stretch": "lupton"}, "do not go together"),
        ({"source": "mosaic", "stretch": "sdss-jpeg"}, "stretch of source = 'mosaic' must be 'lupton'"),
        ({"stretch": "\x1b[31mred"}, r"stretch must be a name of printable signs, got '\\x1b\[31mred'"),
        ({"source": "sdss", "crop_pix": 20}, "crop_pix have no use with source = 'sdss'"),
        ({"size_rule": "petro"}, "size_rule must be 'petro5' or 'fixed', got 'petro'"),
        ({"size_rule": "fixed"}, "needs pixel_scale_arcsec"),
        ({"pixel_scale_arcsec": 0.4}, "has no use with size_rule = 'petro5'"),
        ({"size_rule": "fixed", "pixel_scale_arcsec": float("nan")}, "must be 0.001 to 1000, got nan"),
        ({"source": "mosaic", "lupton_scales": (1.0, 1.0)}, "lupton_scales must be 3 numbers"),
        ({"source": "mosaic", "lupton_q": 0.0}, "lupton_q and lupton_stretch must be above 0"),
    ],
)
def test_settings_that_make_no_sense_cannot_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageSettings(**{"source": "folder", "folder": "images", "pattern": PATTERN} | changes)


@pytest.mark.parametrize(
    ("num_galaxies", "changes", "shard_size"),
    [
        (1, {}, 128),
        (2_000, {}, 128),
        (100_000, {}, 768),
        (10**7, {}, 2048),
        (10**7, {"size_pix": 512}, 320),
        (10**7, {"size_pix": 2048}, 64),
        (2_000, {"chunk_size": 4096}, 4096),
        (10**7, {"chunk_size": 100}, 2000),
        (10**7, {"shard_size": 128}, 128),
    ],
)
def test_shards_are_fitted_to_the_survey_unless_their_size_is_given(
    num_galaxies: int, changes: dict[str, Any], shard_size: int
) -> None:
    assert ImageSettings(source="simulated", **changes).shard_size_for(num_galaxies) == shard_size


def test_what_the_store_says_follows_from_the_source() -> None:
    pictures = ImageSettings(source="sdss").spec(survey="sdss")
    assert (pictures.bands, pictures.stretch, pictures.dtype) == (("i", "r", "g"), "sdss-jpeg", "uint8")
    legacy = ImageSettings(source="legacy", size_rule="fixed", pixel_scale_arcsec=0.262).spec(survey="legacy")
    assert (legacy.bands, legacy.stretch, legacy.size_rule) == (("z", "r", "g"), "legacy-jpeg", "0.262 arcsec/pixel")
    lupton = ImageSettings(source="mosaic", folder="frames", pattern=PATTERN).spec(survey="sdss")
    assert lupton.stretch == "lupton Q=8 stretch=0.2 minimum=0 scales=1,1.5,2.5"
    flux = ImageSettings(source="mosaic", folder="frames", pattern=PATTERN, dtype="float32", bands=("r",)).spec(
        survey="sdss"
    )
    assert (flux.stretch, flux.dtype, flux.frame) == ("flux", "float32", (128, 128, 1))
    assert flux.cutout_bytes == 4 * 128 * 128


def test_settings_written_out_are_the_same_settings() -> None:
    settings = ImageSettings(source="mosaic", folder="frames", pattern=PATTERN)
    assert settings.stretch == "lupton"
    assert ImageSettings(**vars(settings)) == settings


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_can_travel_to_a_worker(source: str, tmp_path: Path) -> None:
    folder = "cutouts.zarr" if source == "array" else "images"
    settings = ImageSettings(
        source=source,
        folder=str(tmp_path / folder),
        pattern="{object_id}-{band}.fits",
        contact="astronomer@example.org",
    )
    made = make_source(settings, run_dir=tmp_path, seed=1)
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301
    assert len(pickle.dumps(made)) < 2000
