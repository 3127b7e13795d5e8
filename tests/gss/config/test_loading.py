from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gss.config import (
    AugmentationConfig,
    CompactConfig,
    DalleConfig,
    InferenceConfig,
    PriorConfig,
    Recipe,
    StageConfig,
    VqganConfig,
    as_config,
    tokenizer_config,
)
from gss.config.loading import RecipeError, load_recipe, recipe_from_mapping, recipe_to_yaml


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
        ("zzz: 1", "zzz: unknown key; known here: name, description"),
        (
            "prior_stage: {learnig_rate: 1}",
            "prior_stage.learnig_rate: unknown key (did you mean 'learning_rate'?); known here: steps, batch_size",
        ),
        (
            "tokenizer: {width: 3, with: 3}",
            "tokenizer.with: unknown key (did you mean 'width'?); known here: type, any_",
        ),
        ("tokenizer: {type: dalle, dalle: 3}", "tokenizer.dalle: unknown key; known here: type, codes, encoder_width"),
        (
            "tokenizer: {type: dale}",
            "tokenizer.type: expected one of 'compact', 'dalle', 'vqgan', got 'dale' (str) (did you mean 'dalle'?)",
        ),
        ("tokenizer: 3", "tokenizer: expected a valid dictionary or object to extract fields from, got 3 (int)"),
        ("prior_stage: {learning_rate: fast}", "prior_stage.learning_rate: expected a valid number, got 'fast' (str)"),
        ("prior_stage: {learning_rate: .nan}", "prior_stage.learning_rate: expected a finite number, got nan (float)"),
        ("prior_stage: {learning_rate: true}", "prior_stage.learning_rate: expected a valid number, got True (bool)"),
        ("prior_stage: {steps: 1.5}", "prior_stage.steps: expected a valid integer, got 1.5 (float)"),
        ("prior_stage: {steps: true}", "prior_stage.steps: expected a valid integer, got True (bool)"),
        ("prior_stage: {steps: }", "prior_stage.steps: expected a valid integer, got nothing (null)"),
        ("prior_stage: {clip_norm: x}", "prior_stage.clip_norm: expected a valid number, got 'x' (str)"),
        ("prior: {share_codes: 1}", "prior.share_codes: expected a valid boolean, got 1 (int)"),
        (
            "prior_stage: {augmentation: {crop: [1, 2, 3]}}",
            "prior_stage.augmentation.crop: expected at most 2 items, not 3, got [1, 2, 3] (list)",
        ),
        ("inference: {crop: [1]}", "inference.crop[1]: expected a value, got [1] (list)"),
        ("inference: {crop: [1, x]}", "inference.crop[1]: expected a valid integer, got 'x' (str)"),
        ("inference: {crop: 9}", "inference.crop: expected a valid tuple, got 9 (int)"),
        (
            "prior_stage: {schedule: polly}",
            "prior_stage.schedule: expected 'poly', 'cosine' or 'constant', got 'polly' (str) (did you mean 'poly'?)",
        ),
        (
            "stages: [prior, palette]",
            "stages[1]: expected 'tokenizer', 'posterior', 'prior', 'inverse', 'token_prior' or 'classifier', got 'pal",
        ),
        ("name: 3", "name: expected a valid string, got 3 (int)"),
        ("backbone: big", "backbone: expected a valid dictionary, got 'big' (str)"),
        ("prior: 3", "prior: expected a dictionary or an instance of PriorConfig, got 3 (int)"),
        ("- 1", "expected a mapping of settings, got [1]"),
        ("seed: [1", "not valid YAML"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_each_problem_has_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: x\nprior: {window: 0}")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value).splitlines() == [
        f"{path}: seed: expected a valid integer, got 'x' (str)",
        f"{path}: prior.window: expected greater than or equal to 1, got 0 (int)",
    ]
    with pytest.raises(RecipeError, match="key 'seed' is given twice"):
        load_recipe(write(tmp_path, "seed: 1\nseed: 2"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prior_stage.step=3", r"prior_stage\.step: unknown key \(did you mean 'steps'\?\)"),
        ("prior_stage.steps=many", r"prior_stage\.steps: expected a valid integer"),
        ("tokenizer={type: dalle, width: 3}", r"tokenizer\.width: unknown key"),
        ("prior_stage.steps", r"expected key\.path=value"),
        (".steps=3", r"expected key\.path=value"),
        ("seed.x=3", r"seed is a value, it has no key 'x'"),
        ("seed=[", r"the value is not valid YAML"),
    ],
)
def test_override_errors(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^override {re.escape(repr(override))}: {message}"):
        load_recipe(write(tmp_path, "seed: 1"), ["seed=2", override, "cache_gib=1"])


AT_LEAST_0, AT_LEAST_1, MORE_THAN_0 = "greater than or equal to 0", "greater than or equal to 1", "greater than 0"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("prior_stage.steps", 0, AT_LEAST_1),
        ("tokenizer_stage.batch_size", 0, AT_LEAST_1),
        ("prior_stage.learning_rate", 0, MORE_THAN_0),
        ("prior_stage.min_learning_rate", -0.1, AT_LEAST_0),
        ("prior_stage.weight_decay", -1, AT_LEAST_0),
        ("prior_stage.ema_decay", 1, "less than 1"),
        ("prior_stage.warmup_steps", -1, AT_LEAST_0),
        ("prior_stage.warmup_ratio", 0, MORE_THAN_0),
        ("prior_stage.warmup_ratio", 1.5, "less than or equal to 1"),
        ("prior_stage.poly_power", -1, AT_LEAST_0),
        ("prior_stage.gradient_accumulation", 0, AT_LEAST_1),
        ("prior_stage.clip_norm", 0, MORE_THAN_0),
        ("prior_stage.checkpoint_every", 0, AT_LEAST_1),
        ("prior_stage.log_every", 0, AT_LEAST_1),
        ("prior_stage.augmentation.crop[0]", 0, AT_LEAST_1),
        ("prior_stage.augmentation.scale[0]", 0, MORE_THAN_0),
        ("prior_stage.augmentation.flip", 2, "less than or equal to 1"),
        ("inference.crop[0]", 0, AT_LEAST_1),
        ("tokenizer.stride", 0, AT_LEAST_1),
        ("tokenizer.codes", 0, AT_LEAST_1),
        ("tokenizer.encoder_blocks", -1, AT_LEAST_0),
        ("tokenizer.temperature", 0, MORE_THAN_0),
        ("tokenizer.class_balance", -0.5, AT_LEAST_0),
        ("tokenizer.ema_decay", 0, MORE_THAN_0),
        ("tokenizer.ema_decay", 1, "less than 1"),
        ("prior.swin_stride", 3, "less than or equal to 2"),
        ("prior.window", 0, AT_LEAST_1),
        ("prior.swin_heads", 0, AT_LEAST_1),
        ("prior.dropout", 1, "less than 1"),
        ("cache_gib", -1, AT_LEAST_0),
    ],
)
def test_values_out_of_range(tmp_path: Path, path: str, value: float, expected: str) -> None:
    key, element, _ = path.partition("[")
    override = f"{key}=[{value}, 8]" if element else f"{key}={value}"
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, "seed: 1"), [override])
    line = f"override {override!r}: {path}: expected {expected}, got {value} ({type(value).__name__})"
    assert str(error.value) == line


def test_the_ends_of_the_ranges() -> None:
    CompactConfig(encoder_blocks=0, classification=0.0)
    PriorConfig(swin_depth=0, swin_stride=2)
    StageConfig(steps=1, warmup_steps=0, warmup_ratio=1, clip_norm=None, ema_decay=0.0, min_learning_rate=1e-3)


def test_values_are_checked_wherever_they_are_set() -> None:
    with pytest.raises(ValueError, match="StageConfig\nsteps\n.*greater than or equal to 1"):
        StageConfig(steps=0)
    stage = StageConfig()
    with pytest.raises(ValueError, match="steps\n"):
        stage.steps = 0
    assert stage == StageConfig()
    with pytest.raises(ValueError, match="batch\n"):
        dataclasses.replace(InferenceConfig(), batch=0)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (InferenceConfig, {"stride": (512, 800)}, r"stride: expected at most the crop \(768, 768\), got \(512, 800\)"),
        (
            AugmentationConfig,
            {"scale": [2, 1]},
            r"scale: expected \[min, max\] with 0 < min <= max, got \(2\.0, 1\.0\)",
        ),
        (
            StageConfig,
            {"min_learning_rate": 1.0},
            "min_learning_rate: expected at most the learning rate 0.001, got 1.0",
        ),
        (
            VqganConfig,
            {"channels": [8, 10], "groups": 4},
            r"channels: expected multiples of groups \(4\), got \[8, 10\]",
        ),
        (VqganConfig, {"channels": [32], "attention_levels": [3]}, r"attention_levels: expected 0\.\.0, got \[3\]"),
    ],
)
def test_settings_that_do_not_fit_together(kind: type, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)
    with pytest.raises(ValueError, match=f"^mine\\.{message}$"):
        as_config(kind, settings, "mine")


def test_as_config() -> None:
    config = PriorConfig(window=3)
    assert as_config(PriorConfig, config) is config
    assert as_config(PriorConfig, {"window": 3}) == config
    assert as_config(PriorConfig, None) == PriorConfig()
    with pytest.raises(ValueError, match=r"^prior\.windw: unknown key \(did you mean 'window'\?\); known here: level"):
        as_config(PriorConfig, {"windw": 3}, "prior")
    with pytest.raises(TypeError, match="^prior: expected PriorConfig, a mapping or None, got int$"):
        as_config(PriorConfig, 3, "prior")  # type: ignore[arg-type]


def test_tokenizer_config() -> None:
    assert tokenizer_config({}) == CompactConfig()
    with pytest.raises(TypeError, match="^tokenizer: expected a mapping or a tokenizer's configuration, got NoneType$"):
        tokenizer_config(None)  # type: ignore[arg-type]
    dalle = tokenizer_config({"type": "dalle", "codes": 9})
    assert dalle == DalleConfig(codes=9) and tokenizer_config(dalle) is dalle
    assert tokenizer_config({"type": "vqgan", "channels": [32, 32], "attention_levels": []}).stride == 2
    with pytest.raises(ValueError, match=r"^tokenizer\.codes: expected greater than or equal to 1, got 0 \(int\)$"):
        tokenizer_config({"type": "dalle", "codes": 0})
    with pytest.raises(ValueError, match=r"^tokenizer\.type: expected one of 'compact', .* got 'dal'"):
        tokenizer_config({"type": "dal"})


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("2E+2", 200.0), ("1.5e3", 1500.0), ("'1e-3'", "1e-3"), ("1e", "1e"), ("7", 7)]
)
def test_numbers_in_yaml(tmp_path: Path, text: str, value: object) -> None:
    assert load_recipe(write(tmp_path, f"backbone: {{x: {text}}}")).backbone == {"x": value}


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


def test_what_has_to_fit_together_is_checked_after_the_last_override(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 1")
    recipe = load_recipe(path, ["inference.crop=[64, 64]", "inference.stride=[32, 32]"])
    assert recipe.inference.crop == (64, 64)
    message = r"^override 'inference.crop=\[64, 64\]': inference.stride: expected at most the crop \(64, 64\), got"
    with pytest.raises(RecipeError, match=message):
        load_recipe(path, ["inference.crop=[64, 64]"])


def test_an_override_of_one_section_leaves_one_that_was_written_as_its_alias(tmp_path: Path) -> None:
    path = write(tmp_path, "prior_stage: &stage\n  steps: 5\n  augmentation: {crop: [8, 8]}\ninverse_stage: *stage\n")
    recipe = load_recipe(path, ["inverse_stage.steps=7", "inverse_stage.augmentation.crop=[4, 4]"])
    assert (recipe.prior_stage.steps, recipe.inverse_stage.steps) == (5, 7)
    assert recipe.prior_stage.augmentation.crop == (8, 8)
