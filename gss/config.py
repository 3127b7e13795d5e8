"""Recipes: everything that decides a training run, as plain dataclasses read from YAML.

Torch-free on purpose, so that `gss --help` and config errors cost no import of torch. Lengths are pixels unless a
name says otherwise; `scale` is a ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class AugmentationConfig:
    """Joint image and label augmentation. `crop` is (height, width); `scale` bounds the random resize ratio."""

    scale: tuple[float, float] = (0.75, 1.5)
    crop: tuple[int, int] = (256, 256)
    flip: float = 0.5
    photometric: bool = True


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
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


@dataclass
class TokenizerConfig:
    """The compact maskige tokenizer.

    `stride` maskige pixels a token side, `codes` V, `code_dim` D, `width` channels at token resolution. The maskige has
    `stride` / 4 pixels an image pixel side, since a token stands for a quarter-size cell of the image.
    """

    stride: int = 4
    codes: int = 1024
    code_dim: int = 16
    width: int = 96
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    commitment: float = 0.25
    classification: float = 1.0
    temperature: float = 0.1
    class_balance: float = 0.5
    ema_decay: float = 0.99


@dataclass
class PriorConfig:
    """The conditioning network's head: multi-level aggregation, Swin blocks, token logits (paper section 3.3).

    `class_balance` b weighs classes by share^-b in the losses of stage 2, 0 being the paper's plain mean. `decode`
    says what the tokenizer decodes: the most likely token of every cell ("argmax", the paper's), or the mean code
    under the cell's token distribution ("expected").
    """

    level_channels: int = 64
    trunk_channels: int = 128
    head_channels: int = 256
    swin_channels: int = 128
    swin_stride: int = 1
    swin_depth: int = 2
    swin_heads: int = 4
    window: int = 7
    dropout: float = 0.1
    token_loss: float = 0.8
    pixel_loss: float = 0.2
    class_balance: float = 0.0
    decode: Literal["argmax", "expected"] = "argmax"


@dataclass
class Recipe:
    """A whole run. `model` is "gss" (generative) or "pixel-classifier" (the discriminative twin).

    `backbone` is a transformers backbone configuration, see `gss.backbones.ImageEncoder`. Its weights start random, or
    as those of `pretrained`: a folder or Hugging Face repository of the same architecture. Where the data folder has a
    palette.json, that replaces `palette`.
    """

    name: str = ""
    description: str = ""
    model: Literal["gss", "pixel-classifier"] = "gss"
    seed: int = 0
    palette: str = "camvid"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
