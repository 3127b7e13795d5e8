"""One optimisation stage: how long, how fast, on what crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gss.config.ranges import AT_LEAST_1, BELOW_1, NOT_NEGATIVE, POSITIVE, RULES


@dataclass
class AugmentationConfig:
    """Joint image and label augmentation, sizes as (height, width).

    `scale` bounds the random resize ratio, of the image, or of a `box` that it is then fitted into. `photometric_form`
    is how brightness, contrast, saturation and hue are changed: as one matrix ("yiq"), or through OpenCV's HSV step by
    step ("hsv", the official form, slower).
    """

    box: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.75, 1.5)
    crop: tuple[int, int] = (256, 256)
    flip: float = 0.5
    photometric: bool = True
    photometric_form: Literal["yiq", "hsv"] = "yiq"


RULES[AugmentationConfig] = {
    "box": ("a height and a width of at least 1", lambda value: min(value) >= 1),
    "scale": ("[min, max] with 0 < min <= max", lambda value: 0 < value[0] <= value[1]),
    "crop": ("a height and a width of at least 1", lambda value: min(value) >= 1),
    "flip": ("a probability, 0 to 1", lambda value: 0 <= value <= 1),
}


@dataclass
class StageConfig:
    """One optimisation stage: how long, how fast, on what crops."""

    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    poly_power: float = 1.0
    gradient_accumulation: int = 1
    clip_norm: float | None = None
    ema_decay: float = 0.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    checkpoint_every: int = 200
    log_every: int = 20
    decay_rule: Literal["shape", "official"] = "shape"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


RULES[StageConfig] = {
    "steps": AT_LEAST_1,
    "batch_size": AT_LEAST_1,
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,
    "poly_power": NOT_NEGATIVE,
    "gradient_accumulation": AT_LEAST_1,
    "clip_norm": POSITIVE,
    "ema_decay": BELOW_1,
    "checkpoint_every": AT_LEAST_1,
    "log_every": AT_LEAST_1,
}
