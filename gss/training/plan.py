"""The stages of a recipe, what decides the numbers of each, and whether a run folder may take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gss.config import CompactConfig, Recipe, StageConfig
from gss.training.checkpoint import weights_digest
from gss.training.data import TrainingData
from gss.training.loop import check_precision
from gss.training.losses import class_weights
from gss.training.resume import ResumeMismatch, check_stage, final_weights, has_begun, stage_folder, stage_identity
from gss.training.sampling import check_step_size

# The weights in a run folder.
MODEL_FILE = "model.safetensors"

STAGES = {"gss": ("tokenizer", "posterior", "prior", "inverse", "token_prior"), "pixel-classifier": ("classifier",)}
SETTINGS = {
    "tokenizer": "tokenizer_stage",
    "posterior": "posterior_stage",
    "prior": "prior_stage",
    "inverse": "inverse_stage",
    "token_prior": "token_prior_stage",
    "classifier": "prior_stage",
}


class PlannedStage(NamedTuple):
    """A stage to train: `setting` is where the recipe has its `config`, `inputs` what `train_stage` records."""

    name: str
    setting: str
    config: StageConfig
    inputs: dict[str, Any]


def plan_stages(recipe: Recipe, data: TrainingData) -> list[PlannedStage]:
    """The recipe's stages in order.

    Raises ValueError for a stage that its model does not have, or that builds on one neither trained nor given.
    """
    names = sha256("\n".join(sorted(data.names)).encode()).hexdigest()[:16]
    palette = {key: value for key, value in data.palette.to_dict().items() if key != "name"}
    counted = data.pixels and dict(zip(data.palette.class_names, data.pixels, strict=True))
    settings = asdict(recipe)
    # what the decoder is given is decided when a photo is segmented
    prior = {key: value for key, value in settings["prior"].items() if key != "decode"}
    network = {"model": recipe.model, "backbone": settings["backbone"], "pretrained": recipe.pretrained, "prior": prior}
    tokenizer = {"tokenizer": settings["tokenizer"], "tokenizer_weights": recipe.tokenizer_weights}
    inverse = {"inverse": settings["inverse"], "official_parity": recipe.official_parity}
    sections = {
        "tokenizer": tokenizer,
        "posterior": tokenizer | {"posterior": settings["posterior"], "inverse": settings["inverse"]},
        "prior": network | tokenizer,
        "inverse": network | tokenizer | inverse,
        "token_prior": tokenizer | {"token_prior": settings["token_prior"]},
        "classifier": network,
    }
    start = {} if recipe.start_from is None else {"start_from": weights_digest(Path(recipe.start_from, MODEL_FILE))}
    stages = []
    for name in stage_names(recipe):
        # pixels only decide numbers where classes are balanced by them; they are not always counted
        pixels = counted if class_balance(recipe, name) else None
        inputs = {"recipe": sections[name] | start, "palette": palette, "data": {"names": names, "pixels": pixels}}
        stages.append(PlannedStage(name, SETTINGS[name], getattr(recipe, SETTINGS[name]), inputs))
    return stages


def class_balance(recipe: Recipe, stage: str) -> float:
    """The power by which a stage weighs classes, see `gss.training.losses.class_weights`."""
    if stage == "tokenizer":
        return recipe.tokenizer.class_balance if isinstance(recipe.tokenizer, CompactConfig) else 0.0
    return 0.0 if stage == "token_prior" else recipe.prior.class_balance


def stage_weights(recipe: Recipe, stage: str, data: TrainingData) -> torch.Tensor:
    """The weights (K,) of the classes in a stage's loss."""
    power = class_balance(recipe, stage)
    if not power:
        return torch.ones(data.palette.num_classes)
    assert data.pixels is not None  # check_trainable has asked for them
    return class_weights(data.pixels, power)


def stage_names(recipe: Recipe) -> tuple[str, ...]:
    """The stages that the recipe names, or else all in which something is learned.

    Raises ValueError for a stage that its model does not have, or that builds on one neither trained nor given.
    """
    possible = ["classifier"]
    if recipe.model == "gss":
        possible = ["tokenizer"] if isinstance(recipe.tokenizer, CompactConfig) else []
        possible += ["posterior"] if recipe.posterior.learn else []
        possible += ["prior"] if recipe.inverse.type == "nearest" else ["prior", "inverse"]
    on_request = ["token_prior"] if recipe.model == "gss" else []
    for name in recipe.stages:
        if name not in possible + on_request:
            raise ValueError(
                f"stages: expected some of {', '.join(possible + on_request)} for this model, got {name!r}"
            )
    named = recipe.stages or possible
    chosen = tuple(name for name in possible + on_request if name in named)
    if recipe.start_from is None and recipe.model == "gss":
        if "tokenizer" not in chosen and recipe.tokenizer_weights is None:
            raise ValueError(
                f"tokenizer_weights: expected those of a trained tokenizer, or start_from, to train {', '.join(chosen)}"
            )
        if "inverse" in chosen and "prior" not in chosen and recipe.inverse.source == "photo":
            raise ValueError("start_from: expected a run with a trained prior, to train X^-1 on what it predicts")
    return chosen


def check_trainable(
    recipe: Recipe, stages: Sequence[PlannedStage], data: TrainingData, device: torch.device, processes: int = 1
) -> None:
    """Raises ValueError for data without a label, or, with the recipe's section, for a stage that could not start."""
    if data.pixels is not None and sum(data.pixels) == 0:
        raise ValueError("data: expected at least one labelled pixel in the train split, got none")
    samples = len(data.names)
    for stage in stages:
        config = stage.config
        try:
            check_step_size(samples, config.batch_size, config.gradient_accumulation)
            check_precision(config.mixed_precision, device)
            if config.batch_size % processes:
                raise ValueError(
                    f"batch_size: expected a multiple of the {processes} processes, got {config.batch_size}"
                )
            if config.decay_rule == "official" and stage.name not in ("prior", "inverse"):
                raise ValueError(f"decay_rule: expected 'shape' for the stage {stage.name!r}, which is not official")
            if data.pixels is None and class_balance(recipe, stage.name):
                raise ValueError("class_balance: expected 0 where the data is not checked and counted first")
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
    for stage, later in zip_longest(stages, stages[1:]):
        folder = stage_folder(run, stage.name)
        identity = stage_identity(
            stage.name, stage.config, seed=recipe.seed, samples=samples, processes=1, inputs=stage.inputs | inputs
        )
        finished = check_stage(folder, identity)
        if finished:
            if later is not None and finished < stage.config.steps:
                refuse_longer(run, stage, later, finished)
            inputs |= weights_of(stage.name, final_weights(folder))


def refuse_longer(run: Path, stage: PlannedStage, later: PlannedStage, finished: int) -> None:
    """Raises ResumeMismatch where the later stage has begun, since it was trained with the earlier one as it was."""
    follower = stage_folder(run, later.name)
    if has_begun(follower):
        raise ResumeMismatch(
            f"{stage.setting}.steps: was {finished}, now {stage.config.steps}; but {follower} was trained with the "
            f"{stage.name} of step {finished}, and would not fit a longer trained one. Restore {finished}, or remove "
            f"{follower} to train both stages on"
        )


def weights_of(stage: str, final: Path) -> dict[str, Any]:
    """What later stages take from a finished one: the section of their identity that names its final weights."""
    return {f"{stage} weights": weights_digest(final)}
