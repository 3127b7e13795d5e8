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
from PIL import Image
from safetensors.torch import load_file

from ..config import CompactConfig, DalleConfig, Recipe, StageConfig
from ..convert.dalle import read_dalle
from ..data.check import DataError, check_folder
from ..data.folder import FolderDataset, split_files
from ..data.transforms import Compose, PhotometricDistortion, RandomCrop, RandomFlip, RandomScale
from ..files import remove_leftovers, replace_file, write_text
from ..model import GSS
from ..palette import Palette, get_palette
from ..recipe import recipe_to_yaml
from ..twin import PixelClassifier
from .loop import StageResult, train_stage
from .losses import class_weights
from .plan import MODEL_FILE, PlannedStage, check_run, check_trainable, holds_run, plan_stages, weights_of
from .sampling import derive_seed
from .stages import ClassifierTraining, InverseTraining, PriorTraining, TokenizerTraining

PACKAGES = ("gss", "torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")

# What a model is saved into before its files take their place in the run folder.
MODEL_PREFIX = ".model-"


def train(
    recipe: Recipe, data_dir: str | os.PathLike[str], run_dir: str | os.PathLike[str], resume: bool = False
) -> Path:
    """Train `recipe` on the train split of a data folder and leave a self-contained run folder, which is returned.

    The folder holds config.json and model.safetensors (for `gss.load`), recipe.yaml, versions.json, metrics.jsonl and
    checkpoints/. Stages that had finished are skipped with `resume`; a stage that was cut short goes on at its newest
    checkpoint. Everything is checked first: a call that is refused has changed nothing.

    Raises:
        DataError: the data has problems.
        FileExistsError: the run folder has a run in it and `resume` is False.
        ValueError: a setting that cannot work; ResumeMismatch, one that the run was not trained with.
        CheckpointError, TrainingDiverged, TrainingInterrupted: see `gss.training.train_stage`.
    """
    data, run = Path(data_dir), Path(run_dir)
    recipe.validate()
    if not resume and holds_run(run):
        raise FileExistsError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    palette = data_palette(recipe, data)
    report = check_folder(data, palette, splits=("train",))
    if not report.ok:
        raise DataError(report)
    names, pixels = sorted(split_files(data, "train")[0]), report.class_pixels.tolist()
    stages = plan_stages(recipe, palette, names, pixels)
    process = PartialState()
    check_trainable(stages, len(names), pixels, process.device)
    check_run(run, recipe, stages, len(names))
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model = build_model(recipe, palette)
    load_pretrained(model, recipe)

    if process.is_main_process:
        begin_run(run, recipe)
    train_stages(model, stages, recipe, data, pixels, run, resume)
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
    data: Path,
    pixels: list[int],
    run: Path,
    resume: bool,
) -> None:
    """Train the planned stages one after the other; `pixels` are the labelled training pixels of each class."""

    def train_one(stage: PlannedStage, module: torch.nn.Module, inputs: Mapping[str, Any]) -> StageResult:
        return run_stage(stage.name, module, stage.config, recipe, data, model.palette, run, resume, inputs)

    inputs: dict[str, Any] = {}
    for stage in stages:
        module = stage_module(stage.name, model, recipe, pixels)
        done = run_stage(
            stage.name, module, stage.config, recipe, data, model.palette, run, resume, stage.inputs | inputs
        )
        inputs |= weights_of(stage.name, done.weights)


def stage_module(
    name: str, model: GSS | PixelClassifier, recipe: Recipe, pixels: list[int]
) -> TokenizerTraining | PriorTraining | InverseTraining | ClassifierTraining:
    """What the stage of that name optimises."""
    weights = class_weights(pixels, recipe.prior.class_balance)
    if isinstance(model, PixelClassifier):
        return ClassifierTraining(model, weights)
    if name == "tokenizer":
        assert isinstance(recipe.tokenizer, CompactConfig)  # no other has this stage
        return TokenizerTraining(model, class_weights(pixels, recipe.tokenizer.class_balance))
    if name == "prior":
        return PriorTraining(model, weights)
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
    )


def load_pretrained(model: GSS | PixelClassifier, recipe: Recipe) -> None:
    """Give the model the weights of others that the recipe names: of the encoder, of the tokenizer, of a whole run."""
    if recipe.pretrained is not None:
        model.encoder.load_pretrained(recipe.pretrained)
    if recipe.tokenizer_weights is not None:
        if not isinstance(model, GSS) or not isinstance(recipe.tokenizer, DalleConfig):
            raise ValueError("tokenizer_weights: only a generative model with tokenizer.type 'dalle' takes them")
        folder = Path(recipe.tokenizer_weights)
        source = read_dalle(folder / "encoder.pkl", folder / "decoder.pkl")
        model.tokenizer.load_state_dict(source.state_dict())
    if recipe.start_from is not None:
        start_from(model, Path(recipe.start_from))


def start_from(model: GSS | PixelClassifier, run: Path) -> None:
    """Take the weights of a finished run; X^-1 may be missing there, and stays as it is.

    Raises ValueError, listing them, for weights that are missing otherwise, unexpected or of another shape.
    """
    file = run / MODEL_FILE
    state, own = load_file(file), model.state_dict()
    missing = [name for name in own if name not in state and not name.startswith("inverse.")]
    # a model that only predicts has no use for the head of training
    unexpected = [name for name in state if name not in own and not name.startswith("pixel_head.")]
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    for what, names in (("lacks", missing), ("has also", unexpected), ("has in another shape", misshapen)):
        if names:
            raise ValueError(f"start_from: {file} {what} {len(names)} weights: {', '.join(names[:5])}")
    model.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def data_palette(recipe: Recipe, data: Path) -> Palette:
    """The data folder's own palette.json if it has one, else the recipe's."""
    own = data / "palette.json"
    return Palette.load(own) if own.is_file() else get_palette(recipe.palette)


def run_stage(
    name: str,
    module: torch.nn.Module,
    config: StageConfig,
    recipe: Recipe,
    data: Path,
    palette: Palette,
    run: Path,
    resume: bool,
    inputs: Mapping[str, Any] | None = None,
) -> StageResult:
    """Train one stage on the train split with the stage's augmentation; `inputs` as in `train_stage`."""
    augmentation = config.augmentation
    transforms: list[Any] = [
        RandomScale(*augmentation.scale),
        RandomCrop(tuple(augmentation.crop)),  # type: ignore[arg-type]
        RandomFlip(augmentation.flip),
    ]
    if augmentation.photometric:
        transforms.append(PhotometricDistortion())
    cache = decoded_bytes(data, "train") <= recipe.cache_gib * 2**30
    dataset = FolderDataset(data, "train", palette, transform=Compose(tuple(transforms)), cache=cache)
    return train_stage(name, module, dataset, config, run, seed=recipe.seed, resume=resume, inputs=inputs)


def decoded_bytes(data: Path, split: str) -> int:
    """Memory that the decoded images and labels of a split take, from the sizes in the image headers."""
    total = 0
    for file in split_files(data, split)[0].values():
        with Image.open(file) as image:
            total += 4 * image.width * image.height
    return total


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
