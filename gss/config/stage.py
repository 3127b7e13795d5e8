"""One optimisation stage: how long, how fast, on what crops."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from gss.config.settings import CHECKED, BelowOne, Count, CountOrZero, Flag, NotNegative, Positive, Probability, Size


@dataclass(config=CHECKED)
class AugmentationConfig:
    """Joint augmentation of image and label. Sizes are (height, width) in pixels."""

    box: Size | None = None  # images are fitted into this times the random scale; None scales their own size
    scale: tuple[Positive, Positive] = (0.75, 1.5)  # least and greatest random resize ratio
    crop: Size = (256, 256)
    flip: Probability = 0.5  # of mirroring
    photometric: Flag = True  # change brightness, contrast, saturation and hue

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> AugmentationConfig:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: expected [min, max] with 0 < min <= max, got {self.scale!r}")
        return self


# YAML reads a bare no as false; here it can only mean the word.
Precision = Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(lambda value: "no" if value is False else value)]


@dataclass(config=CHECKED)
class StageConfig:
    """One optimisation stage."""

    steps: Count = 1000  # optimiser steps
    batch_size: Count = 8  # images per forward pass, over all processes together
    learning_rate: Positive = 1e-3
    min_learning_rate: NotNegative = 0.0  # the rate at the end of the schedule, unless it is "constant"
    weight_decay: NotNegative = 0.01
    warmup_steps: CountOrZero = 100  # the rate is scaled from `warmup_ratio` to 1 over these, linearly
    warmup_ratio: Annotated[Positive, Field(le=1)] = 1e-6
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: NotNegative = 1.0
    gradient_accumulation: Count = 1  # batches per optimiser step
    clip_norm: Positive | None = None  # greatest norm of the gradient; None does not clip
    ema_decay: BelowOne = 0.0  # of the moving average of the weights, which a stage then ends with; 0 for none
    mixed_precision: Precision = "no"
    checkpoint_every: Count = 200  # steps
    log_every: Count = 20  # steps
    # Parameters without weight decay: biases, norms and tables of positions or codes ("shape"), or those that the
    # official code finds by name ("official").
    decay_rule: Literal["shape", "official"] = "shape"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    @model_validator(mode="after")
    def _rate_falls(self) -> StageConfig:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate: expected at most the learning rate {self.learning_rate!r}, "
                f"got {self.min_learning_rate!r}"
            )
        return self
