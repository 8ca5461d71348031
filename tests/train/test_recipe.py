from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.recipe import RECIPE_FOLDER, Phase, Ramp, Recipe, find_recipe, recipe_names


def test_there_are_the_papers_three_recipes_and_our_two() -> None:
    assert {name: find_recipe(name).num_epochs for name in recipe_names()} == {
        "as_run": 10,
        "as_written": 10,
        "fine_tune": 8,
        "modern": 12,
        "super_convergent": 70,
    }


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_every_value_itself_and_survives_the_way_through_json(name: str) -> None:
    written = tomllib.loads((RECIPE_FOLDER / f"{name}.toml").read_text())
    wanted = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    assert set(written) == wanted
    recipe = find_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_an_unknown_recipe_is_refused_with_the_near_one() -> None:
    with pytest.raises(InputError, match=r"\[train\] recipe 'moden' is not known; did you mean 'modern'\?"):
        find_recipe("moden")
    with pytest.raises(InputError, match=r"recipe 'x' is not known; there is as_run, as_written, fine_tune"):
        find_recipe("x")


def test_a_recipe_that_makes_no_sense_cannot_exist() -> None:
    ramp = Ramp(num_epochs=1, lr=(1.0, 0.0), shape="cosine")
    phase = Phase(trains="all", group_lr=(1.0, 1.0, 1.0), ramps=(ramp,))
    for broken in ({"num_epochs": 0.0}, {"lr": (-1.0, 0.0)}, {"shape": "square"}):
        with pytest.raises(ValueError, match="a ramp needs"):
            dataclasses.replace(ramp, **broken)  # type: ignore[arg-type]
    for changed in ({"trains": "tail"}, {"group_lr": (1.0,)}, {"ramps": ()}):
        with pytest.raises(ValueError, match="a phase needs"):
            dataclasses.replace(phase, **changed)  # type: ignore[arg-type]
    half = dataclasses.replace(phase, ramps=(dataclasses.replace(ramp, num_epochs=1.5),))
    with pytest.raises(ValueError, match="whole epochs"):
        dataclasses.replace(find_recipe("modern"), phases=(half,))
    with pytest.raises(ValueError, match="loss is one of"):
        dataclasses.replace(find_recipe("modern"), loss="mae")
    with pytest.raises(ValueError, match="pixels is one of"):
        dataclasses.replace(find_recipe("modern"), pixels="raw")
    with pytest.raises(ValueError, match="scaled where brightness or contrast is changed"):
        dataclasses.replace(find_recipe("as_run"), pixels="whitened")
