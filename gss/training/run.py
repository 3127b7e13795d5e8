"""A training run: check the data, train every stage of a recipe, write the run folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from gss.config import CompactConfig, Recipe, StageConfig
from gss.config.loading import recipe_to_yaml
from gss.convert import backbones as convert_backbones
from gss.convert.tokenizers import read_tokenizer
from gss.data.sources.layouts import detect_label_layout
from gss.io.files import remove_leftovers, replace_file, write_text
from gss.model.classifier import PixelClassifier
from gss.model.codec import MaskigeCodec
from gss.model.gss import GSS
from gss.model.loading import build_model, save_codec
from gss.model.tokenizers.protocol import build_tokenizer
from gss.training.card import model_card
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
from gss.training.sampling import derive_seed, loader_workers
from gss.training.stages import (
    ClassifierTraining,
    InverseTraining,
    PriorTraining,
    StageTraining,
    TokenizerTraining,
    TokenPriorTraining,
)

PACKAGES = ("gss", "torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")

# The folder that a model is saved to before its files are moved to the run folder.
MODEL_PREFIX = ".model-"


class _Prepared(NamedTuple):
    """A run whose data and settings have been checked."""

    folder: Path
    data: TrainingData
    stages: list[PlannedStage]
    process: PartialState


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

    The folder holds config.json and model.safetensors (for `gss.load`), README.md (a model card), recipe.yaml,
    versions.json, metrics.jsonl and checkpoints/. With `resume`, finished stages are skipped, and an unfinished stage
    continues from its newest checkpoint. Everything is checked first: a call that is refused has changed nothing.

    Args:
        layout, lists: see `gss.data.sources.layouts.open_dataset`; by default the folders tell the layout.
        check: read every file of the split first, which takes hours for the largest data sets; False where
            `gss data check` has passed before. Without it, losses cannot be balanced by class.

    Raises:
        DataError: the data has problems.
        FileExistsError: the run folder holds a run and `resume` is False.
        ValueError: a setting that cannot work; ResumeMismatch, a setting that the run was not trained with.
        CheckpointError, TrainingDiverged, TrainingInterrupted: see `gss.training.loop.train_stage`.

    Example::

        recipe = gss.load_recipe("camvid-small", ["prior_stage.steps=500"])
        run = gss.train(recipe, "data/camvid", "runs/camvid")
        model = gss.load(run)
    """
    run, data, stages, process = _prepare(recipe, data_dir, run_dir, resume, layout, lists, check)
    model = build_model(recipe, data.palette)
    load_pretrained(model, recipe)

    if process.is_main_process:
        _begin_run(run, recipe)
    inputs: dict[str, Any] = {}
    for stage in stages:
        module = stage_module(stage.name, model, recipe, stage_weights(recipe, stage.name, data))
        done = run_stage(stage.name, module, stage.config, recipe, data, run, resume, stage.inputs | inputs)
        inputs |= weights_of(stage.name, done.weights)
        if isinstance(module, PosteriorTraining):
            module.finish()
    if process.is_main_process:
        card = model_card(model.architecture, model.palette, recipe, data, {s.name: s.config for s in stages})
        save_model(model, run, card)
    return run


def train_tokenizer(
    recipe: Recipe,
    data_dir: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    resume: bool = False,
    *,
    layout: str | None = None,
    lists: str | os.PathLike[str] | None = None,
    check: bool = True,
) -> Path:
    """Train the tokenizer of `recipe` on the label maps of a train split, and leave a run folder, which is returned.

    The tokenizer equals that of `train` on the same data bit by bit; images are not needed. The folder holds what
    `gss.model.loading.load_codec` reads, README.md, recipe.yaml, versions.json, metrics.jsonl and checkpoints/.

    Args:
        layout: as in `train`, or "labels" for annotations without images, the default if there are no images.

    Raises:
        ValueError: the recipe's tokenizer cannot be trained.
        The errors of `train`.

    Example::

        run = train_tokenizer(gss.load_recipe("camvid-small"), "data/labels", "runs/tokenizer")
        codec = gss.model.loading.load_codec(run)
    """
    config = recipe.tokenizer
    if recipe.model != "gss" or not isinstance(config, CompactConfig):
        got = recipe.model if recipe.model != "gss" else config.type
        raise ValueError(f"recipe: expected a generative model with tokenizer.type 'compact' to train, got {got!r}")
    recipe = replace(recipe, stages=("tokenizer",))
    layout = layout or detect_label_layout(Path(data_dir))
    run, data, (stage,), process = _prepare(recipe, data_dir, run_dir, resume, layout, lists, check)
    codec = MaskigeCodec(data.palette, build_tokenizer(config))
    if recipe.tokenizer_weights is not None:
        codec.tokenizer.load_state_dict(read_tokenizer(config, recipe.tokenizer_weights).state_dict())

    if process.is_main_process:
        _begin_run(run, recipe)
    module = TokenizerTraining(codec, stage_weights(recipe, stage.name, data))
    run_stage(stage.name, module, stage.config, recipe, data, run, resume, stage.inputs)
    if process.is_main_process:
        card = model_card("tokenizer", data.palette, recipe, data, {stage.name: stage.config})
        write_text(run / "README.md", str(card))
        save_codec(codec, run)
    return run


def _prepare(
    recipe: Recipe,
    data_dir: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    resume: bool,
    layout: str | None,
    lists: str | os.PathLike[str] | None,
    check: bool,
) -> _Prepared:
    """Check recipe, data and run folder, changing nothing; seed the initial weights. Raises what `train` raises."""
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
    return _Prepared(run, data, stages, process)


def _begin_run(run: Path, recipe: Recipe) -> None:
    """Remove the unfinished files of a killed process, and record what the run is made with."""
    remove_leftovers(run)
    for leftover in run.glob(f"{MODEL_PREFIX}*"):
        shutil.rmtree(leftover)
    write_text(run / "recipe.yaml", recipe_to_yaml(recipe))
    made_with = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    write_text(run / "versions.json", json.dumps(made_with, indent=2) + "\n")


def stage_module(
    name: str, model: GSS | PixelClassifier, recipe: Recipe, weights: torch.Tensor
) -> StageTraining | TokenPriorTraining:
    """The module that the stage `name` trains; `weights` (K,) are those of the classes in its loss."""
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


def load_pretrained(model: GSS | PixelClassifier, recipe: Recipe) -> None:
    """Load the weights that the recipe names: for the encoder, the tokenizer, or the whole model."""
    if recipe.pretrained is not None:
        convert_backbones.load_pretrained(model.encoder, recipe.pretrained)
    if recipe.tokenizer_weights is not None:
        if not isinstance(model, GSS):
            raise ValueError("tokenizer_weights: only a generative model takes them")
        model.tokenizer.load_state_dict(read_tokenizer(recipe.tokenizer, recipe.tokenizer_weights).state_dict())
    if recipe.start_from is not None:
        start_from(model, Path(recipe.start_from))


def start_from(model: GSS | PixelClassifier, run: Path) -> None:
    """Load the weights of a finished run. X^-1 and the prior over tokens may be missing there and stay as they are.

    Raises:
        ValueError: naming other weights that are missing, unexpected or of another shape.
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
    process = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    # every worker of the loader keeps its own images
    copies = max(1, loader_workers(process.device, process.num_processes))
    dataset = data.dataset(config.augmentation, recipe.cache_gib / copies)
    return train_stage(name, module, dataset, config, run, seed=recipe.seed, resume=resume, inputs=inputs)


def save_model(model: GSS | PixelClassifier, run: Path, card: ModelCard | None = None) -> None:
    """Write model.safetensors, README.md and config.json, each renamed into place when it is complete.

    Without a `card`, README.md describes the model only.
    """
    with tempfile.TemporaryDirectory(dir=run, prefix=MODEL_PREFIX) as folder:
        # save_pretrained leaves a README.md that is there
        write_text(Path(folder, "README.md"), str(card or model_card(model.architecture, model.palette)))
        model.save_pretrained(folder)
        # The weights first: a run is finished once config.json is there.
        for file in (MODEL_FILE, "README.md", "config.json"):
            with replace_file(run / file) as temporary:
                os.replace(Path(folder, file), temporary)
