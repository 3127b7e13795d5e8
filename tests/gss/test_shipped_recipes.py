"""The shipped recipes: valid, buildable, and the twin a fair one."""

from dataclasses import asdict

import pytest

from gss.palette import get_palette
from gss.recipe import list_recipes, load_recipe
from gss.training.run import build_gss


def test_the_twin_differs_in_the_model_only() -> None:
    ours, twin = asdict(load_recipe("camvid-small")), asdict(load_recipe("camvid-small-twin"))
    assert {key for key in ours if ours[key] != twin[key]} == {"name", "description", "model"}
    assert twin["model"] == "pixel-classifier"


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    model = build_gss(recipe, get_palette(recipe.palette))
    assert model.num_parameters()["tokenizer"] < 500_000
