"""The shipped recipes: valid, buildable, and the twin a fair one."""

from dataclasses import asdict

import pytest
import torch

from gss.config.loading import list_recipes, load_recipe
from gss.model.loading import build_gss
from gss.palette import get_palette
from gss.training.plan import stage_names


def test_the_twin_differs_in_the_model_only() -> None:
    ours, twin = asdict(load_recipe("camvid-small")), asdict(load_recipe("camvid-small-twin"))
    assert {key for key in ours if ours[key] != twin[key]} == {"name", "description", "model"}
    assert twin["model"] == "pixel-classifier"


OFFICIAL = [name for name in list_recipes() if name.startswith("official-")]


@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in OFFICIAL])
def test_every_small_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    model = build_gss(recipe, get_palette(recipe.palette))
    assert model.num_parameters()["tokenizer"] < 500_000


# Counted on the official modules.
TRUNKS = {"swin-l": 23_946_528, "r101": 32_737_120, "hrnet-w48": 31_539_040}
INVERSES = {"cityscapes": 136_503, "ade20k": 286_558, "mseg": 292_234}


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_official_recipe_builds_at_the_official_size(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    with torch.device("meta"):
        model = build_gss(recipe, get_palette(recipe.palette))
    sizes = model.num_parameters()
    backbone = next(kind for kind in TRUNKS if name.endswith(kind))
    assert sizes["tokenizer"] == 97_616_006
    assert sizes["trunk"] + sizes["token_head"] == TRUNKS[backbone]
    if "-ft-w-" in name:
        data = name.split("-")[1]
        assert sizes["inverse"] == INVERSES[data]
        assert model.pixel_head is None
        assert stage_names(recipe) == ("inverse",)
        assert recipe.start_from == f"runs/{name.replace('ft-w', 'ff')}"
    else:
        assert model.pixel_head is not None and model.inverse is None
        assert stage_names(recipe) == ("prior",)


def test_the_official_schedules() -> None:
    """Learning rate, steps, batch and crop, as in the official configurations."""
    table = {
        "cityscapes-ff-swin-l": (1.5e-3, 80_000, 16, 768),
        "cityscapes-ff-r101": (1.5e-3, 80_000, 16, 768),
        "cityscapes-ft-w-swin-l": (7.5e-4, 40_000, 8, 768),
        "cityscapes-ft-w-r101": (1.5e-3, 80_000, 16, 768),
        "ade20k-ff-swin-l": (1.2e-4, 160_000, 32, 512),
        "ade20k-ft-w-swin-l": (1.5e-3, 40_000, 16, 512),
        "mseg-ff-swin-l": (1.2e-4, 160_000, 32, 512),
        "mseg-ff-hrnet-w48": (1.2e-4, 160_000, 32, 512),
        "mseg-ft-w-swin-l": (1.5e-3, 40_000, 32, 512),
        "mseg-ft-w-hrnet-w48": (1.2e-4, 160_000, 32, 512),
    }
    assert {f"official-{name}" for name in table} == set(OFFICIAL)
    for name, expected in table.items():
        recipe = load_recipe(f"official-{name}")
        stage = recipe.inverse_stage if "ft-w" in name else recipe.prior_stage
        crop = stage.augmentation.crop
        assert (stage.learning_rate, stage.steps, stage.batch_size, crop[0]) == expected
        assert crop[0] == crop[1] and stage.decay_rule == "official" and stage.warmup_steps == 1500
        assert recipe.inference.mode == ("whole" if "ade20k" in name else "slide")
