"""A whole training run: check the data, train every stage of a recipe, write the run folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from safetensors.torch import load_file

from gss.config import Recipe, StageConfig
from gss.config.loading import recipe_to_yaml
from gss.convert import backbones as convert_backbones
from gss.convert.tokenizers import read_tokenizer
from gss.io.files import remove_leftovers, replace_file, write_text
from gss.model.classifier import PixelClassifier
from gss.model.gss import GSS
from gss.palette import Palette
from gss.training.data import TrainingData, find_training_data
from gss.training.loop import StageResult, train_stage
from gss.training.plan import (
    MODEL_FILE,
    PlannedStage,
    check_run,
    check_trainable,
    holds_run,
    plan_stages,
    stage_weights,
    weights_of,
)
from gss.training.posterior import PosteriorTraining
from gss.training.sampling import derive_seed
from gss.training.stages import ClassifierTraining, InverseTraining, PriorTraining, TokenizerTraining
from gss.training.token_prior import TokenPriorTraining

PACKAGES = ("gss", "torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")

# What a model is saved into before its files take their place in the run folder.
MODEL_PREFIX = ".model-"


def train(
    recipe: Recipe,
    data_dir: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    resume: bool = False,
    *,
    layout: str | None = None,
    lists: str | os.PathLike[str] | None = None,
    check: bool = True,
) -> Path:
    """Train `recipe` on the train split of a data set and leave a self-contained run folder, which is returned.

    The folder holds config.json and model.safetensors (for `gss.load`), recipe.yaml, versions.json, metrics.jsonl and
    checkpoints/. Stages that had finished are skipped with `resume`; a stage that was cut short goes on at its newest
    checkpoint. Everything is checked first: a call that is refused has changed nothing.

    Args:
        layout, lists: see `gss.data.sources.layouts.open_dataset`; by default the folders say which data set it is.
        check: read every file of the split first. Hours for the largest data sets, which `gss data check` may have
            passed before; without it losses cannot be balanced by class.

    Raises:
        DataError: the data has problems.
        FileExistsError: the run folder has a run in it and `resume` is False.
        ValueError: a setting that cannot work; ResumeMismatch, one that the run was not trained with.
        CheckpointError, TrainingDiverged, TrainingInterrupted: see `gss.training.loop.train_stage`.
    """
    run = Path(run_dir)
    if not resume and holds_run(run):
        raise FileExistsError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    data = find_training_data(recipe, Path(data_dir), layout, None if lists is None else Path(lists), check)
    stages = plan_stages(recipe, data)
    # as accelerate decides it for the stages; without this, processes on a CPU would be taken for single ones
    process = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    check_trainable(recipe, stages, data, process.device, process.num_processes)
    check_run(run, recipe, stages, len(data.names))
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model = build_model(recipe, data.palette)
    load_pretrained(model, recipe)

    if process.is_main_process:
        begin_run(run, recipe)
    train_stages(model, stages, recipe, data, run, resume)
    if process.is_main_process:
        save_model(model, run)
    return run


def begin_run(run: Path, recipe: Recipe) -> None:
    """Clear away what a killed process left half written, and note what the run is made with."""
    remove_leftovers(run)
    for leftover in run.glob(f"{MODEL_PREFIX}*"):
        shutil.rmtree(leftover)
    write_text(run / "recipe.yaml", recipe_to_yaml(recipe))
    write_text(run / "versions.json", json.dumps(versions(recipe), indent=2) + "\n")


def train_stages(
    model: GSS | PixelClassifier,
    stages: list[PlannedStage],
    recipe: Recipe,
    data: TrainingData,
    run: Path,
    resume: bool,
) -> None:
    """Train the planned stages one after the other."""
    inputs: dict[str, Any] = {}
    for stage in stages:
        module = stage_module(stage.name, model, recipe, stage_weights(recipe, stage.name, data))
        done = run_stage(stage.name, module, stage.config, recipe, data, run, resume, stage.inputs | inputs)
        inputs |= weights_of(stage.name, done.weights)
        if isinstance(module, PosteriorTraining):
            module.finish()


def stage_module(
    name: str, model: GSS | PixelClassifier, recipe: Recipe, weights: torch.Tensor
) -> TokenizerTraining | PosteriorTraining | PriorTraining | InverseTraining | TokenPriorTraining | ClassifierTraining:
    """What the stage of that name optimises; `weights` (K,) are those of the classes in its loss."""
    if isinstance(model, PixelClassifier):
        return ClassifierTraining(model, weights)
    if name == "tokenizer":
        return TokenizerTraining(model, weights)
    if name == "posterior":
        return PosteriorTraining(model, weights, recipe.posterior)
    if name == "prior":
        return PriorTraining(model, weights)
    if name == "token_prior":
        return TokenPriorTraining(model)
    return InverseTraining(model, weights, recipe.official_parity)


def build_model(recipe: Recipe, palette: Palette) -> GSS | PixelClassifier:
    """The recipe's model with random weights."""
    if recipe.model == "gss":
        return build_gss(recipe, palette)
    return PixelClassifier(
        palette=palette.to_dict(),
        backbone=recipe.backbone,
        prior=asdict(recipe.prior),
        inference=asdict(recipe.inference),
    )


def build_gss(recipe: Recipe, palette: Palette) -> GSS:
    """The recipe's generative model with random weights."""
    return GSS(
        palette=palette.to_dict(),
        backbone=recipe.backbone,
        tokenizer=asdict(recipe.tokenizer),
        prior=asdict(recipe.prior),
        inverse=asdict(recipe.inverse),
        inference=asdict(recipe.inference),
        token_prior=asdict(recipe.token_prior) if "token_prior" in recipe.stages else None,
    )


def load_pretrained(model: GSS | PixelClassifier, recipe: Recipe) -> None:
    """Give the model the weights of others that the recipe names: of the encoder, of the tokenizer, of a whole run."""
    if recipe.pretrained is not None:
        convert_backbones.load_pretrained(model.encoder, recipe.pretrained)
    if recipe.tokenizer_weights is not None:
        if not isinstance(model, GSS):
            raise ValueError("tokenizer_weights: only a generative model takes them")
        source = read_tokenizer(recipe.tokenizer, recipe.tokenizer_weights)
        model.tokenizer.load_state_dict(source.state_dict())
    if recipe.start_from is not None:
        start_from(model, Path(recipe.start_from))


def start_from(model: GSS | PixelClassifier, run: Path) -> None:
    """Take the weights of a finished run; X^-1 and the prior over tokens may be missing there, and stay as they are.

    Raises ValueError, listing them, for weights that are missing otherwise, unexpected or of another shape.
    """
    file = run / MODEL_FILE
    state, own = load_file(file), model.state_dict()
    missing = [name for name in own if name not in state and not name.startswith(("inverse.", "token_prior."))]
    # a model that only predicts has no use for the head of training
    unexpected = [name for name in state if name not in own and not name.startswith("pixel_head.")]
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    for what, names in (("lacks", missing), ("has also", unexpected), ("has in another shape", misshapen)):
        if names:
            raise ValueError(f"start_from: {file} {what} {len(names)} weights: {', '.join(names[:5])}")
    model.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def run_stage(
    name: str,
    module: torch.nn.Module,
    config: StageConfig,
    recipe: Recipe,
    data: TrainingData,
    run: Path,
    resume: bool,
    inputs: Mapping[str, Any] | None = None,
) -> StageResult:
    """Train one stage on the train split with the stage's augmentation; `inputs` as in `train_stage`."""
    dataset = data.dataset(config.augmentation, recipe.cache_gib)
    return train_stage(name, module, dataset, config, run, seed=recipe.seed, resume=resume, inputs=inputs)


def save_model(model: GSS | PixelClassifier, run: Path) -> None:
    """config.json and model.safetensors, each moved into place whole."""
    with tempfile.TemporaryDirectory(dir=run, prefix=MODEL_PREFIX) as folder:
        model.save_pretrained(folder)
        # The weights first: a run is finished once config.json is there.
        for file in (MODEL_FILE, "README.md", "config.json"):
            source = Path(folder) / file
            if source.exists():
                with replace_file(run / file) as temporary:
                    os.replace(source, temporary)


def versions(recipe: Recipe) -> dict[str, Any]:
    """What a run was made with."""
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in PACKAGES},
    }
