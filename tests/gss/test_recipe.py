from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gss.config import AugmentationConfig, PriorConfig, Recipe, StageConfig
from gss.recipe import RecipeError, list_recipes, load_recipe, recipe_from_mapping, recipe_to_yaml


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_values_and_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        model: pixel-classifier
        backbone: {name: mobilenet, out_indices: [0, 1]}
        prior_stage:
          learning_rate: 1e-3
          clip_norm: 1
          mixed_precision: no
          augmentation: {crop: [128, 192], scale: [1, 2.5]}
        """,
    )
    assert load_recipe(path) == Recipe(
        name="mine",
        model="pixel-classifier",
        backbone={"name": "mobilenet", "out_indices": [0, 1]},
        prior_stage=StageConfig(
            learning_rate=1e-3, clip_norm=1.0, augmentation=AugmentationConfig(crop=(128, 192), scale=(1.0, 2.5))
        ),
    )


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "")) == Recipe(name="mine")


def test_overrides(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, "prior_stage: {steps: 10, clip_norm: 1.0}"),
        [
            "prior_stage.steps=20",
            "prior_stage.clip_norm=null",
            "prior_stage.augmentation.crop=[64, 96]",
            "backbone.name=swin",
            "prior.dropout=0",
            "name=a=b",
        ],
    )
    assert recipe.prior_stage == StageConfig(steps=20, augmentation=AugmentationConfig(crop=(64, 96)))
    assert recipe.backbone == {"name": "swin"}
    assert recipe.prior == PriorConfig(dropout=0.0)
    assert recipe.name == "a=b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "prior_stage: {learnig_rate: 1}",
            r"mine\.yaml: prior_stage\.learnig_rate: unknown key \(did you mean 'learning_rate'\?\)",
        ),
        ("zzz: 1", r"zzz: unknown key; known here: name, description"),
        ("prior_stage: {learning_rate: fast}", r"prior_stage\.learning_rate: expected a number, got 'fast' \(str\)"),
        ("prior_stage: {learning_rate: .nan}", r"prior_stage\.learning_rate: expected a finite number, got nan"),
        ("prior_stage: {learning_rate: true}", r"expected a finite number, got True \(bool\)"),
        ("prior_stage: {steps: 1.5}", r"prior_stage\.steps: expected a whole number, got 1\.5 \(float\)"),
        ("prior_stage: {steps: true}", r"prior_stage\.steps: expected a whole number, got True \(bool\)"),
        ("prior_stage: {steps: }", r"prior_stage\.steps: expected a whole number, got nothing \(null\)"),
        ("prior_stage: {clip_norm: x}", r"prior_stage\.clip_norm: expected a number, got 'x'"),
        (
            "prior_stage: {augmentation: {photometric: 1}}",
            r"prior_stage\.augmentation\.photometric: expected true or false, got 1",
        ),
        (
            "prior_stage: {augmentation: {crop: [1, 2, 3]}}",
            r"augmentation\.crop: expected a list of 2 values, got \[1, 2, 3\]",
        ),
        ("prior_stage: {augmentation: {crop: [1, x]}}", r"augmentation\.crop\[1\]: expected a whole number, got 'x'"),
        (
            "prior_stage: {schedule: polly}",
            r"schedule: expected one of 'poly', 'cosine', 'constant', got 'polly' \(str\) \(did you mean 'poly'\?\)",
        ),
        ("name: 3", r"name: expected text, got 3 \(int\)"),
        ("backbone: big", r"backbone: expected a mapping, got 'big'"),
        ("prior: 3", r"prior: expected a mapping of settings, got 3"),
        ("- 1", r"mine\.yaml: expected a mapping of settings, got \[1\]"),
        ("seed: 1\nseed: 2", r"key 'seed' is given twice"),
        ("seed: [1", r"mine\.yaml: not valid YAML"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "prior_stage.step=3",
            r"override 'prior_stage\.step=3': prior_stage\.step: unknown key \(did you mean 'steps'\?\)",
        ),
        ("prior_stage.steps=many", r"override 'prior_stage\.steps=many': prior_stage\.steps: expected a whole number"),
        ("prior_stage.steps", r"expected key\.path=value"),
        (".steps=3", r"expected key\.path=value"),
        ("seed.x=3", r"seed is a value, it has no key 'x'"),
        ("seed=[", r"the value is not valid YAML"),
    ],
)
def test_override_errors(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, "seed: 1"), [override])


def test_unknown_name() -> None:
    with pytest.raises(RecipeError, match="'no-such-recipe' is neither a shipped recipe nor a file.*shipped: "):
        load_recipe("no-such-recipe")


def test_yaml_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(
        name="été",
        backbone={"name": "x", "depths": [1, 2], "pretrained": None},
        prior_stage=StageConfig(learning_rate=1e-5, mixed_precision="no", clip_norm=0.5),
    )
    path = tmp_path / "r.yaml"
    path.write_text(recipe_to_yaml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert recipe_to_yaml(load_recipe(path)) == recipe_to_yaml(recipe)


def test_every_shipped_recipe_loads() -> None:
    for name in list_recipes():
        recipe = load_recipe(name)
        assert recipe.name and isinstance(recipe, Recipe)


def test_mapping() -> None:
    assert recipe_from_mapping({"seed": 4}).seed == 4


def test_import_needs_no_torch() -> None:
    code = "import sys, gss.recipe; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
