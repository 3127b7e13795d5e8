"""The stages of a recipe, the settings that decide the numbers of each, and checks before a run begins."""

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
    """A stage to train. `setting` names its `config` in the recipe; `inputs` are those of `train_stage`."""

    name: str
    setting: str
    config: StageConfig
    inputs: dict[str, Any]


def plan_stages(recipe: Recipe, data: TrainingData) -> list[PlannedStage]:
    """The recipe's stages in order. Raises ValueError as `stage_names` does."""
    names = sha256("\n".join(sorted(data.names)).encode()).hexdigest()[:16]
    palette = {key: value for key, value in data.palette.to_dict().items() if key != "name"}
    counted = data.pixels and dict(zip(data.palette.class_names, data.pixels, strict=True))
    settings = asdict(recipe)
    # how tokens are decoded matters for prediction only
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
        # pixel counts decide numbers only where classes are balanced by them, and are not always known
        pixels = counted if class_balance(recipe, name) else None
        inputs = {"recipe": sections[name] | start, "palette": palette, "data": {"names": names, "pixels": pixels}}
        stages.append(PlannedStage(name, SETTINGS[name], getattr(recipe, SETTINGS[name]), inputs))
    return stages


def class_balance(recipe: Recipe, stage: str) -> float:
    """The power of a stage's class weights, see `gss.training.losses.class_weights`."""
    if stage == "tokenizer":
        return recipe.tokenizer.class_balance if isinstance(recipe.tokenizer, CompactConfig) else 0.0
    return 0.0 if stage == "token_prior" else recipe.prior.class_balance


def stage_weights(recipe: Recipe, stage: str, data: TrainingData) -> torch.Tensor:
    """The weights (K,) of the classes in a stage's loss."""
    power = class_balance(recipe, stage)
    if not power:
        return torch.ones(data.palette.num_classes)
    assert data.pixels is not None  # checked by check_trainable
    return class_weights(data.pixels, power)


def stage_names(recipe: Recipe) -> tuple[str, ...]:
    """The stages that the recipe names, by default all stages with something to learn.

    Raises:
        ValueError: the model does not have the stage, or the stage needs one that is neither trained nor given.
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
    """Raises ValueError for data without a label, or for a stage that cannot start, with its section of the recipe."""
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
    """Check that the stages, finished or not, may continue in the run folder. Changes nothing.

    Raises:
        ResumeMismatch: a setting that decides the numbers of a stage has changed since it was trained.
        CheckpointError: there is no readable checkpoint to continue from.
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
    """Raises ResumeMismatch if the later stage has begun: it belongs to the weights that the earlier one had then."""
    follower = stage_folder(run, later.name)
    if has_begun(follower):
        raise ResumeMismatch(
            f"{stage.setting}.steps: was {finished}, now {stage.config.steps}; but {follower} was trained with the "
            f"{stage.name} of step {finished}, and would not fit a longer trained one. Restore {finished}, or remove "
            f"{follower} to train both stages on"
        )


def weights_of(stage: str, final: Path) -> dict[str, Any]:
    """The section that a finished stage adds to the identity of later stages: the digest of its final weights."""
    return {f"{stage} weights": weights_digest(final)}
