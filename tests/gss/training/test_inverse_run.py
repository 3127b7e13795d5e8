"""X^-1 trained as a third stage, in a run of its own on top of another, and on a tokenizer that is never trained."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gss
from gss.config import DalleConfig, InverseConfig
from gss.convert.dalle import official_name
from gss.model.tokenizers.dalle import DalleTokenizer
from gss.palette import Palette
from gss.palettes.files import write_palette
from gss.training.data import find_training_data
from gss.training.metrics_log import read_metrics
from gss.training.plan import check_trainable, plan_stages, stage_names
from gss.training.resume import ResumeMismatch
from gss.training.run import train
from tests.gss.tiny import tiny_recipe

INVERSE = InverseConfig(type="convolution", channels=4)
DALLE = DalleConfig(codes=16, encoder_width=4, decoder_width=4, code_dim=4, encoder_blocks=1, decoder_blocks=1)


def test_the_inverse_is_trained_on_top_of_a_run(data: Path, run: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(inverse=INVERSE, start_from=str(run), stages=("inverse",))
    recipe.inverse_stage = recipe.prior_stage
    tuned = train(recipe, data, tmp_path / "ft")
    assert {line["stage"] for line in read_metrics(tuned / "metrics.jsonl")} == {"inverse"}
    before, after = load_file(run / "model.safetensors"), load_file(tuned / "model.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())
    added = after.keys() - before.keys()
    assert added and all(name.startswith("inverse.") for name in added)
    train(recipe, data, tuned, resume=True)
    with pytest.raises(ResumeMismatch, match="inverse"):
        recipe.inverse = InverseConfig(type="convolution", channels=5)
        train(recipe, data, tuned, resume=True)


def test_a_run_that_does_not_fit_is_refused_with_the_weights_named(data: Path, run: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(start_from=str(run))
    recipe.prior.head_channels = 8
    with pytest.raises(ValueError, match="start_from: .*has in another shape .* weights: trunk.before_head"):
        train(recipe, data, tmp_path / "run")
    recipe.start_from = str(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nothing"):
        train(recipe, data, tmp_path / "run")


def test_stages_that_a_model_does_not_have_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stages: expected some of tokenizer, prior, token_prior for .* got 'inverse'"):
        train(tiny_recipe(stages=("inverse",)), data, tmp_path / "a")
    with pytest.raises(ValueError, match="stages: expected some of prior, token_prior for this model, got 'tokenizer'"):
        train(tiny_recipe(tokenizer=DALLE, stages=("tokenizer",)), data, tmp_path / "b")


def test_published_tokenizer_weights_are_read_and_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = DalleTokenizer(DALLE).state_dict()
    for part in ("encoder", "decoder"):
        weights = {
            official_name(name).removeprefix(f"{part}."): value
            for name, value in state.items()
            if name.startswith(part)
        }
        torch.save(weights, tmp_path / f"{part}.pkl")
    run = train(tiny_recipe(tokenizer=DALLE, tokenizer_weights=str(tmp_path)), data, tmp_path / "run")
    assert {line["stage"] for line in read_metrics(run / "metrics.jsonl")} == {"prior"}
    tokenizer = gss.load(run).tokenizer.state_dict()
    assert all(torch.equal(tokenizer[name], value) for name, value in state.items())
    twin = tiny_recipe(model="pixel-classifier", tokenizer_weights=str(tmp_path))
    with pytest.raises(ValueError, match="tokenizer_weights: only a generative model takes them"):
        train(twin, data, tmp_path / "other")


def test_a_run_that_starts_from_another_paints_in_its_colours(data: Path, run: Path, tmp_path: Path) -> None:
    other = Palette.named("scenes")
    turned = tuple((blue, red, green) for red, green, blue in other.colors)
    write_palette(tmp_path / "turned.json", Palette("turned", other.class_names, turned))
    recipe = tiny_recipe(palette=str(tmp_path / "turned.json"), start_from=str(run), stages=("prior",))
    assert gss.load(train(recipe, data, tmp_path / "run")).palette == other
    names = other.class_names[::-1]
    write_palette(tmp_path / "reversed.json", Palette("reversed", names, turned))
    shutil.copytree(data, tmp_path / "data")
    shutil.copy(tmp_path / "reversed.json", tmp_path / "data" / "palette.json")
    with pytest.raises(ValueError, match="start_from: .*config.json does not have the 8 classes of the data"):
        train(recipe, tmp_path / "data", tmp_path / "refused")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stages": ("prior",)},
            "tokenizer_weights: expected those of a trained tokenizer, or start_from",
        ),
        ({"stages": ("tokenizer", "inverse")}, "start_from: expected a run with a trained prior, to train X"),
        ({"tokenizer": DALLE}, "tokenizer_weights: expected those of a trained tokenizer"),
    ],
)
def test_a_stage_on_top_of_nothing_is_refused(data: Path, tmp_path: Path, changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(tiny_recipe(inverse=INVERSE, **changes), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_stages_are_trained_in_their_order_once() -> None:
    recipe = tiny_recipe(inverse=INVERSE, stages=("inverse", "prior", "tokenizer", "prior"))
    assert stage_names(recipe) == ("tokenizer", "prior", "inverse")


def test_what_cannot_be_trained_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    recipe.tokenizer_stage = replace(recipe.tokenizer_stage, decay_rule="official")
    with pytest.raises(ValueError, match="tokenizer_stage: decay_rule: expected 'shape' for the stage 'tokenizer'"):
        train(recipe, data, tmp_path / "run")
    with pytest.raises(ValueError, match="tokenizer_stage: class_balance: expected 0 where the data is not checked"):
        train(tiny_recipe(), data, tmp_path / "run", check=False)
    with pytest.raises(ValueError, match="prior_stage: batch_size: expected a multiple of the 4 processes, got 2"):
        found = find_training_data(tiny_recipe(), data)
        stages = [stage for stage in plan_stages(tiny_recipe(), found) if stage.name == "prior"]
        check_trainable(tiny_recipe(), stages, found, torch.device("cpu"), 4)
    assert not (tmp_path / "run").exists()


def test_an_unchecked_run_goes_on_from_a_checked_one(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(stages=("tokenizer",))
    recipe.tokenizer = replace(recipe.tokenizer, class_balance=0.0)
    run = train(recipe, data, tmp_path / "run")
    train(recipe, data, run, resume=True, check=False)
