"""Recipes: everything that decides a training run, as plain dataclasses read from YAML.

Torch-free on purpose, so that `gss --help` and config errors cost no import of torch. Lengths are pixels unless a
name says otherwise; `scale` is a ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
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
    decay_rule: Literal["shape", "official"] = "shape"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


@dataclass
class CompactConfig:
    """The compact maskige tokenizer, trained on label maps by the first stage.

    `stride` maskige pixels a token side, `codes` V, `code_dim` D, `width` channels at token resolution. The maskige has
    `stride` / 4 pixels an image pixel side, since a token stands for a quarter-size cell of the image.
    """

    type: Literal["compact"] = "compact"
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
class DalleConfig:
    """Sizes of the DALL-E dVAE, the tokenizer of the paper; the defaults are the published model's. Never trained here.

    `codes` V; `encoder_width` and `decoder_width` channels at full resolution (eight times that at token resolution);
    `code_dim` D, the channels a token becomes first; four groups of so many blocks each.
    """

    type: Literal["dalle"] = "dalle"
    codes: int = 8192
    encoder_width: int = 256
    decoder_width: int = 256
    code_dim: int = 128
    encoder_blocks: int = 2
    decoder_blocks: int = 2


TokenizerConfig = CompactConfig | DalleConfig
TOKENIZERS: dict[str, type[CompactConfig] | type[DalleConfig]] = {"compact": CompactConfig, "dalle": DalleConfig}


def tokenizer_config(settings: Mapping[str, Any]) -> TokenizerConfig:
    """The configuration that a mapping describes: its `type` says which, "compact" where it has none.

    Raises ValueError for another type.
    """
    kind = settings.get("type", "compact")
    if kind not in TOKENIZERS:
        raise ValueError(f"tokenizer.type: expected {' or '.join(TOKENIZERS)}, got {kind!r}")
    return TOKENIZERS[kind](**settings)


@dataclass
class InverseConfig:
    """X^-1, from a painted maskige back to classes (paper section 3.2).

    "nearest" takes the nearest palette colour and has nothing to learn (GSS-FF); "convolution" is a network of three
    convolutions (GSS-FT), "window" one of `depth` shifted-window blocks (GSS-FT-W), both `channels` wide.

    What a learned one is trained on: `source` "photo", maskiges that the frozen prior predicts, as the official code
    does, or "labels", maskiges reconstructed from the labels themselves, as the paper's first stage does.
    """

    type: Literal["nearest", "convolution", "window"] = "nearest"
    channels: int = 128
    depth: int = 1
    heads: int = 4
    window: int = 7
    source: Literal["photo", "labels"] = "photo"


@dataclass
class PriorConfig:
    """The conditioning network's head: multi-level aggregation, Swin blocks, token logits (paper section 3.3).

    `class_balance` b weighs classes by share^-b in the losses of stage 2, 0 being the paper's plain mean.
    `share_codes` lets tokens that paint alike share logit weights, see `gss.prior.TokenHead`. `decode` says what the
    tokenizer decodes: the most likely token of every cell ("argmax", the paper's), or what its tokens agree on
    ("consensus", see `gss.prior.TokenHead.consensus`). `pixel_branch` is where the auxiliary pixel head reads: the map
    that the trunk fused ("shared", the paper's MSeg models), one fused from the backbone's levels by itself
    ("separate", its other models), or there is no such head ("none", for models that predict only).
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
    pixel_branch: Literal["shared", "separate", "none"] = "shared"
    class_balance: float = 0.0
    share_codes: bool = False
    decode: Literal["argmax", "consensus"] = "argmax"


@dataclass
class Recipe:
    """A whole run. `model` is "gss" (generative) or "pixel-classifier" (the discriminative twin).

    `backbone` is a transformers backbone configuration, see `gss.backbones.ImageEncoder`. Its weights start random, or
    as those of `pretrained`: a folder or Hugging Face repository of the same architecture. Where the data folder has a
    palette.json, that replaces `palette`. `tokenizer_weights` is a folder with the published encoder.pkl and
    decoder.pkl of the DALL-E dVAE, or with their state dicts. `start_from` is a run of the same architecture, or of one
    that lacks only X^-1, whose weights training starts from.

    `stages` are those to train, in this order: "tokenizer", "prior" and "inverse" (X^-1), or "classifier" of the twin;
    none named means all that have something to learn. `official_parity` reproduces what is a defect of the official
    code instead of doing it right; docs/official.md lists these.

    Decoded images stay in memory between epochs if the whole train split fits into `cache_gib` GiB; otherwise every
    image is read anew each time. 0 always reads anew.
    """

    name: str = ""
    description: str = ""
    model: Literal["gss", "pixel-classifier"] = "gss"
    seed: int = 0
    palette: str = "camvid"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    tokenizer: TokenizerConfig = field(default_factory=CompactConfig)
    tokenizer_weights: str | None = None
    prior: PriorConfig = field(default_factory=PriorConfig)
    inverse: InverseConfig = field(default_factory=InverseConfig)
    start_from: str | None = None
    stages: tuple[Literal["tokenizer", "prior", "inverse", "classifier"], ...] = ()
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
    inverse_stage: StageConfig = field(default_factory=StageConfig)
    official_parity: bool = False
    cache_gib: float = 4.0

    def validate(self) -> None:
        """Check the range of every number.

        Raises:
            ValueError: for the first that cannot work, with its dotted path, what was expected and what came.
        """
        require_in_range(self)


Rule = tuple[str, Callable[[Any], bool]]

AT_LEAST_1: Rule = ("at least 1", lambda value: value >= 1)
NOT_NEGATIVE: Rule = ("0 or more", lambda value: value >= 0)
POSITIVE: Rule = ("more than 0", lambda value: value > 0)
BELOW_1: Rule = ("at least 0 and less than 1", lambda value: 0 <= value < 1)

RULES: dict[type, dict[str, Rule]] = {
    AugmentationConfig: {
        "scale": ("[min, max] with 0 < min <= max", lambda value: 0 < value[0] <= value[1]),
        "crop": ("a height and a width of at least 1", lambda value: min(value) >= 1),
        "flip": ("a probability, 0 to 1", lambda value: 0 <= value <= 1),
    },
    StageConfig: {
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
    },
    CompactConfig: {
        "stride": AT_LEAST_1,
        "codes": AT_LEAST_1,
        "code_dim": AT_LEAST_1,
        "width": AT_LEAST_1,
        "encoder_blocks": NOT_NEGATIVE,
        "decoder_blocks": NOT_NEGATIVE,
        "commitment": NOT_NEGATIVE,
        "classification": NOT_NEGATIVE,
        "temperature": POSITIVE,
        "class_balance": NOT_NEGATIVE,
        "ema_decay": ("more than 0 and less than 1", lambda value: 0 < value < 1),
    },
    DalleConfig: {
        "codes": AT_LEAST_1,
        "encoder_width": ("at least 4, to take a quarter of", lambda value: value >= 4),
        "decoder_width": ("at least 4, to take a quarter of", lambda value: value >= 4),
        "code_dim": AT_LEAST_1,
        "encoder_blocks": AT_LEAST_1,
        "decoder_blocks": AT_LEAST_1,
    },
    InverseConfig: {"channels": AT_LEAST_1, "depth": NOT_NEGATIVE, "heads": AT_LEAST_1, "window": AT_LEAST_1},
    PriorConfig: {
        "level_channels": AT_LEAST_1,
        "trunk_channels": AT_LEAST_1,
        "head_channels": AT_LEAST_1,
        "swin_channels": AT_LEAST_1,
        "swin_stride": ("1 or 2", lambda value: value in (1, 2)),
        "swin_depth": NOT_NEGATIVE,
        "swin_heads": AT_LEAST_1,
        "window": AT_LEAST_1,
        "dropout": BELOW_1,
        "token_loss": NOT_NEGATIVE,
        "pixel_loss": NOT_NEGATIVE,
        "class_balance": NOT_NEGATIVE,
    },
    Recipe: {"cache_gib": NOT_NEGATIVE},
}


def require_in_range(settings: Any) -> None:
    """Raises ValueError for the first number in a dataclass of settings, or in one within it, that cannot work."""
    for path, expected, value in _out_of_range(settings, ""):
        raise ValueError(f"{path}: expected {expected}, got {value!r}")


def _out_of_range(settings: Any, prefix: str) -> Iterator[tuple[str, str, Any]]:
    """(dotted path, what was expected, value) of every number outside its range; None stands for "not used"."""
    for entry in fields(settings):
        value, path = getattr(settings, entry.name), prefix + entry.name
        if is_dataclass(value):
            yield from _out_of_range(value, f"{path}.")
        elif entry.name in RULES[type(settings)] and value is not None:
            expected, holds = RULES[type(settings)][entry.name]
            if not holds(value):
                yield path, expected, value
