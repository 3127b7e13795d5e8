"""A whole training run: check the data, train every stage of a recipe, write the run folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..config import Recipe, StageConfig
from ..data.check import DataError, check_folder
from ..data.folder import FolderDataset
from ..data.transforms import Compose, PhotometricDistortion, RandomCrop, RandomFlip, RandomScale
from ..model import GSS
from ..palette import Palette, get_palette
from ..recipe import recipe_to_yaml
from ..twin import PixelClassifier
from .loop import StageResult, train_stage
from .sampling import derive_seed
from .stages import ClassifierTraining, PriorTraining, TokenizerTraining, class_weights

PACKAGES = ("gss", "torch", "transformers", "accelerate", "safetensors", "numpy", "pillow")


def train(
    recipe: Recipe, data_dir: str | os.PathLike[str], run_dir: str | os.PathLike[str], resume: bool = False
) -> Path:
    """Train `recipe` on a data folder and leave a self-contained run folder, which is returned.

    The folder holds config.json and model.safetensors (for `gss.load`), recipe.yaml, versions.json, metrics.jsonl and
    checkpoints/. Stages that had finished are skipped with `resume`; a stage that was cut short goes on at its newest
    checkpoint.

    Raises:
        DataError: the data has problems; nothing was trained.
        FileExistsError: the run folder has a run in it and `resume` is False.
        TrainingDiverged, TrainingInterrupted, ResumeMismatch: see `gss.training.train_stage`.
    """
    data, run = Path(data_dir), Path(run_dir)
    if not resume and (run / "recipe.yaml").exists():
        raise FileExistsError(f"{run}: holds a run already; go on with --resume, or choose another folder")
    palette = data_palette(recipe, data)
    report = check_folder(data, palette)
    if not report.ok:
        raise DataError(report)
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / "recipe.yaml", recipe_to_yaml(recipe))
    write_text(run / "versions.json", json.dumps(versions(recipe), indent=2) + "\n")

    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model: GSS | PixelClassifier
    pixels = class_pixels(FolderDataset(data, "train", palette))
    prior_weights = class_weights(pixels, recipe.prior.class_balance)
    if recipe.model == "gss":
        model = build_gss(recipe, palette)
        load_pretrained(model, recipe)
        weights = class_weights(pixels, recipe.tokenizer.class_balance)
        run_stage(
            "tokenizer", TokenizerTraining(model, weights), recipe.tokenizer_stage, recipe, data, palette, run, resume
        )
        run_stage("prior", PriorTraining(model, prior_weights), recipe.prior_stage, recipe, data, palette, run, resume)
    else:
        model = PixelClassifier(palette=palette.to_dict(), backbone=recipe.backbone, prior=asdict(recipe.prior))
        load_pretrained(model, recipe)
        run_stage(
            "classifier",
            ClassifierTraining(model, prior_weights),
            recipe.prior_stage,
            recipe,
            data,
            palette,
            run,
            resume,
        )
    save_model(model, run)
    return run


def build_gss(recipe: Recipe, palette: Palette) -> GSS:
    """The recipe's generative model with random weights."""
    return GSS(
        palette=palette.to_dict(),
        backbone=recipe.backbone,
        tokenizer=asdict(recipe.tokenizer),
        prior=asdict(recipe.prior),
    )


def load_pretrained(model: GSS | PixelClassifier, recipe: Recipe) -> None:
    """Give the image encoder the recipe's pretrained weights, if it names any."""
    if recipe.pretrained is not None:
        model.encoder.load_pretrained(recipe.pretrained)


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
) -> StageResult:
    """Train one stage on the train split with the stage's augmentation."""
    augmentation = config.augmentation
    transforms: list[Any] = [
        RandomScale(*augmentation.scale),
        RandomCrop(tuple(augmentation.crop)),  # type: ignore[arg-type]
        RandomFlip(augmentation.flip),
    ]
    if augmentation.photometric:
        transforms.append(PhotometricDistortion())
    dataset = FolderDataset(data, "train", palette, transform=Compose(tuple(transforms)))
    return train_stage(name, module, dataset, config, run, seed=recipe.seed, resume=resume)


def class_pixels(dataset: FolderDataset) -> list[int]:
    """Labelled pixels of each class over a split."""
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(dataset)):
        counts += torch.bincount(dataset[index]["label"].flatten(), minlength=256)
    return counts[: dataset.palette.num_classes].tolist()


def save_model(model: GSS | PixelClassifier, run: Path) -> None:
    """config.json and model.safetensors, each moved into place whole."""
    with tempfile.TemporaryDirectory(dir=run, prefix=".model-") as folder:
        model.save_pretrained(folder)
        # The weights first: a run is finished once config.json is there.
        for file in ("model.safetensors", "README.md", "config.json"):
            source = Path(folder) / file
            if source.exists():
                shutil.move(source, run / file)


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


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name in the same folder, then rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
