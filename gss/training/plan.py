"""The stages of a recipe, what decides the numbers of each, and whether a run folder may take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gss.config import Recipe, StageConfig
from gss.palette import Palette
from gss.training.checkpoint import weights_digest
from gss.training.loop import check_precision
from gss.training.resume import ResumeMismatch, check_stage, final_weights, has_begun, stage_folder, stage_identity
from gss.training.sampling import check_step_size

STAGES = {"gss": ("tokenizer", "prior"), "pixel-classifier": ("classifier",)}

# The section of stage 2's identity that names the tokenizer it was trained with.
TOKENIZER_WEIGHTS = "tokenizer weights"


class PlannedStage(NamedTuple):
    """A stage to train: `setting` is where the recipe has its `config`, `inputs` what `train_stage` records."""

    name: str
    setting: str
    config: StageConfig
    inputs: dict[str, Any]


def plan_stages(recipe: Recipe, palette: Palette, names: Sequence[str], pixels: Sequence[int]) -> list[PlannedStage]:
    """The recipe's stages in order.

    Args:
        names: of the training images.
        pixels: labelled training pixels of each class.
    """
    shared = {
        "palette": {key: value for key, value in palette.to_dict().items() if key != "name"},
        "data": {
            "names": sha256("\n".join(sorted(names)).encode()).hexdigest()[:16],
            "pixels": dict(zip(palette.class_names, pixels, strict=True)),
        },
    }
    settings = asdict(recipe)
    # what the decoder is given is decided when a photo is segmented
    prior = {key: value for key, value in settings["prior"].items() if key != "decode"}
    network = {"model": recipe.model, "backbone": settings["backbone"], "pretrained": recipe.pretrained, "prior": prior}
    tokenizer = {"tokenizer": settings["tokenizer"]}
    sections = {"tokenizer": tokenizer, "prior": network | tokenizer, "classifier": network}
    stages = []
    for name in STAGES[recipe.model]:
        setting = "tokenizer_stage" if name == "tokenizer" else "prior_stage"
        stages.append(PlannedStage(name, setting, getattr(recipe, setting), {"recipe": sections[name], **shared}))
    return stages


def check_trainable(stages: Sequence[PlannedStage], samples: int, pixels: Sequence[int], device: torch.device) -> None:
    """Raises ValueError for data without a label, or, with the recipe's section, for a stage that could not start."""
    if sum(pixels) == 0:
        raise ValueError("data: expected at least one labelled pixel in the train split, got none")
    for stage in stages:
        config = stage.config
        try:
            check_step_size(samples, config.batch_size, config.gradient_accumulation)
            check_precision(config.mixed_precision, device)
        except ValueError as error:
            raise ValueError(f"{stage.setting}: {error}") from error


def holds_run(run: Path) -> bool:
    """Whether a folder holds a run: a model, or at least one step of training."""
    log = run / "metrics.jsonl"
    return (
        (run / "config.json").exists()
        or (log.exists() and log.stat().st_size > 0)
        or any(has_begun(stage_folder(run, name)) for names in STAGES.values() for name in names)
    )


def check_run(run: Path, recipe: Recipe, stages: Sequence[PlannedStage], samples: int) -> None:
    """Whether the stages, finished ones too, may go on in the run folder. Reads only, changes nothing.

    Raises:
        ResumeMismatch: something that decides a stage's numbers has changed since it was trained.
        CheckpointError: nothing readable to go on from.
    """
    for model, names in STAGES.items():
        begun = [name for name in names if has_begun(stage_folder(run, name))]
        if model != recipe.model and begun:
            raise ResumeMismatch(
                f"{run} was trained with other settings and cannot be continued:\n"
                f"  model: was {model!r}, now {recipe.model!r}\nrestore it, or train into a new run directory"
            )
    inputs: dict[str, Any] = {}
    for stage in stages:
        folder = stage_folder(run, stage.name)
        identity = stage_identity(
            stage.name, stage.config, seed=recipe.seed, samples=samples, processes=1, inputs=stage.inputs | inputs
        )
        finished = check_stage(folder, identity)
        if stage.name == "tokenizer" and finished:
            if finished < stage.config.steps:
                refuse_longer_tokenizer(run, finished, stage.config.steps)
            inputs = tokenizer_inputs(final_weights(folder))


def refuse_longer_tokenizer(run: Path, finished: int, steps: int) -> None:
    """Raises ResumeMismatch where stage 2 has begun, since it predicts the tokens of the tokenizer as it was."""
    prior = stage_folder(run, "prior")
    if has_begun(prior):
        raise ResumeMismatch(
            f"tokenizer_stage.steps: was {finished}, now {steps}; but {prior} was trained with the tokenizer of step "
            f"{finished}, and would not fit a longer trained one. Restore {finished}, or remove {prior} to train both "
            "the tokenizer and that stage on"
        )


def tokenizer_inputs(final: Path) -> dict[str, Any]:
    """What stage 2 takes from stage 1: the section of its identity that names the tokenizer's final weights."""
    return {TOKENIZER_WEIGHTS: weights_digest(final)}
