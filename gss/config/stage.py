"""Settings of one training stage: steps, optimiser, schedule and augmentation."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic.dataclasses import dataclass

from gss.config.fields import (
    SETTINGS,
    AtLeast0,
    AtLeast1,
    Below1,
    Flag,
    NotNegative,
    Positive,
    Probability,
    Size,
)


def _ordered(scale: tuple[float, float]) -> tuple[float, float]:
    if scale[0] > scale[1]:
        raise ValueError("expected [min, max] with min <= max")
    return scale


# YAML reads a bare no as false.
Precision = Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(lambda value: "no" if value is False else value)]


@dataclass(config=SETTINGS)
class AugmentationConfig:
    """Joint augmentation of image and labels; sizes are (height, width) in pixels.

    Args:
        box: images are fitted into this box before the random resize; None leaves their size.
        scale: smallest and largest ratio of the random resize, of the image or of the box.
        crop: size of the random crop.
        flip: probability of mirroring.
        photometric: whether brightness, contrast, saturation and hue are changed.
        photometric_form: "yiq" changes them by one matrix, "hsv" one after the other, as the official pipeline does.
    """

    box: Size | None = None
    scale: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)] = (0.75, 1.5)
    crop: Size = (256, 256)
    flip: Probability = 0.5
    photometric: Flag = True
    photometric_form: Literal["yiq", "hsv"] = "yiq"


@dataclass(config=SETTINGS)
class StageConfig:
    """One training stage.

    Args:
        steps: optimiser steps.
        batch_size: images of one micro-batch over all processes; a step has `gradient_accumulation` of them.
        warmup_steps, warmup_ratio: the rate rises linearly from warmup_ratio times its value to its value.
        schedule, poly_power: decay of the rate over all steps.
        min_learning_rate: the decay ends at this rate instead of 0.
        clip_norm: largest norm of the gradient; None does not clip.
        ema_decay: of the averaged weights that the stage ends with; 0 keeps the last weights.
        checkpoint_every, log_every: in steps.
        decay_rule: which parameters have weight decay: "shape" those of two or more dimensions, "official" as the
            official code chooses by name.
    """

    steps: AtLeast1 = 1000
    batch_size: AtLeast1 = 8
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    warmup_steps: AtLeast0 = 100
    warmup_ratio: Probability = 1e-6
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: NotNegative = 1.0
    min_learning_rate: NotNegative = 0.0
    gradient_accumulation: AtLeast1 = 1
    clip_norm: Positive | None = None
    ema_decay: Below1 = 0.0
    mixed_precision: Precision = "no"
    checkpoint_every: AtLeast1 = 200
    log_every: AtLeast1 = 20
    decay_rule: Literal["shape", "official"] = "shape"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
