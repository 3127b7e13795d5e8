from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from gss.config import (
    AugmentationConfig,
    CompactConfig,
    DalleConfig,
    PriorConfig,
    Recipe,
    StageConfig,
    as_config,
    tokenizer_config,
)
from gss.config.loading import RecipeError, list_recipes, load_recipe, recipe_from_mapping, recipe_to_yaml


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
            "prior_stage.learnig_rate: unknown key (did you mean 'learning_rate'?); known",
        ),
        ("zzz: 1", "zzz: unknown key; known here: name, description"),
        ("prior_stage: {learning_rate: fast}", "prior_stage.learning_rate: expected a valid number, got 'fast' (str)"),
        ("prior_stage: {learning_rate: .nan}", "prior_stage.learning_rate: expected a finite number, got nan (float)"),
        ("prior_stage: {learning_rate: true}", "prior_stage.learning_rate: expected a valid number, got True (bool)"),
        ("prior_stage: {steps: 1.5}", "prior_stage.steps: expected a valid integer, got 1.5 (float)"),
        ("prior_stage: {steps: true}", "prior_stage.steps: expected a valid integer, got True (bool)"),
        ("prior_stage: {steps: }", "prior_stage.steps: expected a valid integer, got nothing (null)"),
        ("prior_stage: {clip_norm: x}", "prior_stage.clip_norm: expected a valid number, got 'x' (str)"),
        (
            "prior_stage: {augmentation: {photometric: 1}}",
            "prior_stage.augmentation.photometric: expected a valid boolean, got 1 (int)",
        ),
        (
            "prior_stage: {augmentation: {crop: [1, 2, 3]}}",
            "prior_stage.augmentation.crop: expected a list with at most 2 items, not 3, got [1, 2, 3] (list)",
        ),
        (
            "prior_stage: {augmentation: {crop: [1, x]}}",
            "prior_stage.augmentation.crop[1]: expected a valid integer, got 'x' (str)",
        ),
        (
            "prior_stage: {schedule: polly}",
            "prior_stage.schedule: expected 'poly', 'cosine' or 'constant', got 'polly' (str) (did you mean 'poly'?)",
        ),
        ("name: 3", "name: expected a valid string, got 3 (int)"),
        ("backbone: big", "backbone: expected a valid dictionary, got 'big' (str)"),
        ("prior: 3", "prior: expected a dictionary or an instance of PriorConfig, got 3 (int)"),
        ("- 1", "expected a mapping of settings, got [1] (list)"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_every_mistake_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"seed: expected a valid integer, got 'x' .*; .*cache_gib: expected greater"):
        load_recipe(write(tmp_path, "seed: x\ncache_gib: -1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("seed: 1\nseed: 2", r"key 'seed' is given twice"), ("seed: [1", r"mine\.yaml: not valid YAML")],
)
def test_broken_yaml(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "prior_stage.step=3",
            r"override 'prior_stage\.step=3': prior_stage\.step: unknown key \(did you mean 'steps'\?\)",
        ),
        ("prior_stage.steps=many", r"override 'prior_stage\.steps=many': prior_stage\.steps: expected a valid integer"),
        ("prior_stage.steps", r"expected key\.path=value"),
        (".steps=3", r"expected key\.path=value"),
        ("seed.x=3", r"seed is a value, it has no key 'x'"),
        ("seed=[", r"the value is not valid YAML"),
    ],
)
def test_override_errors(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, "seed: 1"), [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prior_stage.steps=0", "greater than or equal to 1, got 0 (int)"),
        ("tokenizer_stage.batch_size=0", "greater than or equal to 1, got 0 (int)"),
        ("prior_stage.learning_rate=0", "greater than 0, got 0 (int)"),
        ("prior_stage.weight_decay=-1", "greater than or equal to 0, got -1 (int)"),
        ("prior_stage.ema_decay=1", "less than 1, got 1 (int)"),
        ("prior_stage.warmup_steps=-1", "greater than or equal to 0, got -1 (int)"),
        ("prior_stage.warmup_ratio=2", "less than or equal to 1, got 2 (int)"),
        ("prior_stage.min_learning_rate=-1", "greater than or equal to 0, got -1 (int)"),
        ("prior_stage.poly_power=-1", "greater than or equal to 0, got -1 (int)"),
        ("prior_stage.gradient_accumulation=0", "greater than or equal to 1, got 0 (int)"),
        ("prior_stage.clip_norm=0", "greater than 0, got 0 (int)"),
        ("prior_stage.checkpoint_every=0", "greater than or equal to 1, got 0 (int)"),
        ("prior_stage.log_every=0", "greater than or equal to 1, got 0 (int)"),
        ("prior_stage.augmentation.scale=[2, 1]", "[min, max] with min <= max, got [2, 1] (list)"),
        ("prior_stage.augmentation.flip=2", "less than or equal to 1, got 2 (int)"),
        ("tokenizer.stride=0", "greater than or equal to 1, got 0 (int)"),
        ("tokenizer.codes=0", "greater than or equal to 1, got 0 (int)"),
        ("tokenizer.encoder_blocks=-1", "greater than or equal to 0, got -1 (int)"),
        ("tokenizer.temperature=0", "greater than 0, got 0 (int)"),
        ("tokenizer.class_balance=-0.5", "greater than or equal to 0, got -0.5 (float)"),
        ("tokenizer.ema_decay=0", "greater than 0, got 0 (int)"),
        ("prior.swin_stride=3", "1 or 2, got 3 (int)"),
        ("prior.window=0", "greater than or equal to 1, got 0 (int)"),
        ("prior.swin_heads=0", "greater than or equal to 1, got 0 (int)"),
        ("prior.dropout=1", "less than 1, got 1 (int)"),
        ("cache_gib=-1", "greater than or equal to 0, got -1 (int)"),
    ],
)
def test_values_out_of_range(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, "seed: 1"), [override])
    assert str(error.value) == f"override {override!r}: {override.partition('=')[0]}: expected {message}"


def test_the_ends_of_the_ranges() -> None:
    recipe = Recipe(tokenizer=CompactConfig(encoder_blocks=0, classification=0.0), prior=PriorConfig(swin_depth=0))
    recipe.prior_stage = StageConfig(steps=1, warmup_steps=0, clip_norm=None, ema_decay=0.0)
    recipe.validate()


def test_a_configuration_checks_itself() -> None:
    with pytest.raises(ValueError, match="swin_stride"):
        PriorConfig(swin_stride=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps"):
        StageConfig(steps=0)
    recipe = Recipe()
    recipe.prior_stage.steps = 0
    with pytest.raises(ValueError, match="prior_stage.steps: expected greater than or equal to 1, got 0"):
        recipe.validate()


def test_as_config() -> None:
    prior = PriorConfig(window=5)
    assert as_config(PriorConfig, prior) is prior and as_config(PriorConfig, None) == PriorConfig()
    assert as_config(PriorConfig, {"window": 5}) == prior
    with pytest.raises(ValueError, match=r"windw: unknown key \(did you mean 'window'\?\)"):
        as_config(PriorConfig, {"windw": 5})
    assert tokenizer_config({"codes": 9}) == CompactConfig(codes=9)
    assert tokenizer_config({"type": "dalle", "codes": 9}) == DalleConfig(codes=9)
    with pytest.raises(ValueError, match=r"type: expected one of .*, got 'dale' \(str\) \(did you mean 'dalle'\?\)"):
        tokenizer_config({"type": "dale"})
    with pytest.raises(ValueError, match=r"width: unknown key; known here: type, codes"):
        tokenizer_config({"type": "dalle", "width": 3})


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
    code = "import sys, gss.config.loading; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_recipe_extends_a_shipped_one(tmp_path: Path) -> None:
    text = "extends: camvid-small\nprior_stage:\n  steps: 7\ntokenizer:\n  type: dalle\n  codes: 9\n"
    recipe, base = load_recipe(write(tmp_path, text)), load_recipe("camvid-small")
    assert recipe.prior_stage == dataclasses.replace(base.prior_stage, steps=7)
    assert recipe.backbone == base.backbone
    assert recipe.name == "mine" and recipe.description == ""
    assert recipe.tokenizer == DalleConfig(codes=9)  # another type: nothing of the old one is kept
    with pytest.raises(RecipeError, match="extends: expected a shipped recipe, got 'camvid' .*did you mean 'camvid-"):
        load_recipe(write(tmp_path, "extends: camvid"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tokenizer.type=dale",
            "tokenizer.type: expected one of 'compact', 'dalle', 'vqgan', got 'dale' (str) (did you mean 'dalle'?)",
        ),
        ("tokenizer={type: dalle, width: 3}", "tokenizer.width: unknown key"),
        ("tokenizer={type: dalle, codes: 0}", "tokenizer.codes: expected greater than or equal to 1, got 0"),
        ("inference.crop=[0, 9]", "inference.crop[0]: expected greater than or equal to 1, got 0"),
        ("stages=[palette]", "stages[0]: expected 'tokenizer', 'posterior', 'prior', 'inverse', 'token_prior'"),
    ],
)
def test_errors_of_tokenizers_and_inference(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, "seed: 1"), [override])
    assert str(error.value).startswith(f"override {override!r}: {message}")


def test_what_has_to_fit_together_is_checked_after_the_last_override(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 1")
    recipe = load_recipe(path, ["inference.crop=[64, 64]", "inference.stride=[32, 32]"])
    assert recipe.inference.crop == (64, 64)
    with pytest.raises(RecipeError, match=r"^overrides: inference: stride: expected at most the crop \(64, 64\)"):
        load_recipe(path, ["inference.crop=[64, 64]"])


def test_an_override_of_one_section_leaves_one_that_was_written_as_its_alias(tmp_path: Path) -> None:
    path = write(tmp_path, "prior_stage: &stage\n  steps: 5\n  augmentation: {crop: [8, 8]}\ninverse_stage: *stage\n")
    recipe = load_recipe(path, ["inverse_stage.steps=7", "inverse_stage.augmentation.crop=[4, 4]"])
    assert (recipe.prior_stage.steps, recipe.inverse_stage.steps) == (5, 7)
    assert recipe.prior_stage.augmentation.crop == (8, 8)
