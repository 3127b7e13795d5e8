"""One row of the study: train what a variant learns with the tokenizer frozen, reconstruct the val split."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.variants.joint import ChangedTraining
from benchmarks.variants.palettes import study_palette
from benchmarks.variants.table import Variant
from gss.config import InverseConfig, Recipe
from gss.data.sources.layouts import open_dataset
from gss.evaluation.ceiling import ceiling
from gss.model.gss import GSS
from gss.palette import Palette
from gss.training.data import TrainingData
from gss.training.losses import class_weights
from gss.training.metrics_log import read_metrics
from gss.training.run import build_gss, run_stage
from gss.training.sampling import derive_seed
from gss.training.stages import InverseTraining

# Steps at the end of the joint training that its loss is averaged over.
LAST_STEPS = 20


def measure(variant: Variant, recipe: Recipe, data: TrainingData, tokenizer: dict[str, Tensor]) -> dict[str, Any]:
    """Scores as fractions, colours and their smallest distance in levels of 0..255, on the device of the tokenizer.

    Learned colours are painted as they are, neither rounded to levels nor refused where two are the same: how near they
    come is what is studied.
    """
    palette = study_palette(variant.palette, data, recipe.seed)
    recipe = replace(recipe, inverse=variant.inverse)
    torch.manual_seed(derive_seed(recipe.seed, "variant"))
    model = with_tokenizer(build_gss(recipe, palette), tokenizer)
    if not variant.batch_norm:
        remove_batch_norm(model)
    assert data.pixels is not None  # counted, since the files were checked
    weights = class_weights(data.pixels, 0.5)
    course: dict[str, Any] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        if variant.posterior is not None:
            # a palette is first learned alone where X^-1 is trained afterwards
            learner = codec_with_nearest_colour(recipe, palette, tokenizer) if variant.afterwards else model
            stage = ChangedTraining(learner, weights, variant.posterior, variant.changes)
            rate = variant.rate * recipe.posterior_stage.learning_rate
            config = replace(recipe.posterior_stage, learning_rate=rate)
            run_stage("posterior", stage, config, recipe, data, Path(run), resume=False)
            model.maskige.colors = 255 * stage.colors().detach()
            course = read_course(Path(run))
        if variant.afterwards:
            afterwards = InverseTraining(model, weights)
            run_stage("inverse", afterwards, recipe.inverse_stage, recipe, data, Path(run), resume=False)
    seconds = time.perf_counter() - start
    scores = ceiling(model.eval(), open_dataset(data.root, "val", data.palette))
    colors = model.maskige.colors
    return {
        "seconds": round(seconds, 1),
        "mIoU": scores["mIoU"],
        "mIoU_full_size": scores["mIoU_full_size"],
        "min_distance": float(nn.functional.pdist(colors).min()),
        **course,
        "tokens_per_image": scores["tokens_per_image"],
        "palette": [[round(level, 1) for level in color] for color in colors.tolist()],
    }


def read_course(run: Path) -> dict[str, Any]:
    """Of the joint training: the smallest distance at its start and after 25, 50 and 100 % of the steps; the
    classification loss, and the share of tokens that are not the best code where they are drawn, both at its end."""
    log = read_metrics(run / "metrics.jsonl", "posterior")
    distances = [log[int(part * (len(log) - 1))]["smallest_distance"] for part in (0, 0.25, 0.5, 1)]
    last = log[-LAST_STEPS:]
    keys = [key for key in ("classification", "noisy") if key in log[0]]
    means: dict[str, Any] = {key: sum(line[key] for line in last) / len(last) for key in keys}
    return {"distances": distances, **means}


def with_tokenizer(model: GSS, tokenizer: dict[str, Tensor]) -> GSS:
    model.tokenizer.load_state_dict(tokenizer)
    return model.to(next(iter(tokenizer.values())).device)


def codec_with_nearest_colour(recipe: Recipe, palette: Palette, tokenizer: dict[str, Tensor]) -> GSS:
    return with_tokenizer(build_gss(replace(recipe, inverse=InverseConfig()), palette), tokenizer)


def remove_batch_norm(model: GSS) -> None:
    """Put the identity in the place of the batch norms of X^-1."""
    assert model.inverse is not None
    for parent in model.inverse.projection.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
