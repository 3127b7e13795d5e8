"""What is learned beside the tokenizer: the conditioning network's head, X^-1, X, and the prior over tokens alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gss.config.ranges import AT_LEAST_1, BELOW_1, NOT_NEGATIVE, POSITIVE, RULES


@dataclass
class PriorConfig:
    """The conditioning network's head: multi-level aggregation, Swin blocks, token logits (paper section 3.3).

    `class_balance` b weighs classes by share^-b in the losses of stage 2, 0 being the paper's plain mean.
    `share_codes` lets tokens that paint alike share logit weights, see `TokenHead`. `decode` says what the
    tokenizer decodes: the most likely token of every cell ("argmax", the paper's), or what its tokens agree on
    ("consensus", see `TokenHead.consensus`). `pixel_branch` is where the auxiliary pixel head reads: the map
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


RULES[PriorConfig] = {
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
}


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


RULES[InverseConfig] = {
    "channels": AT_LEAST_1,
    "depth": NOT_NEGATIVE,
    "heads": AT_LEAST_1,
    "window": AT_LEAST_1,
}


@dataclass
class PosteriorConfig:
    """How the palette is learned (paper section 3.2): GSS-TF with nearest colours as X^-1, GSS-TT with a learned one.

    `estimator` is what takes the place of the choice of a code in the backward pass: the softmax over codes
    ("straight-through"), or one with Gumbel noise that also draws the code ("gumbel"), both at `token_temperature`.
    `temperature` is that of the squared distances from the learned colours (0..1), for the nearest colour as X^-1.
    Colours nearer to each other than `spread`, in units of the colour cube's side, are pushed apart with
    `spread_weight`.
    """

    learn: bool = False
    estimator: Literal["straight-through", "gumbel"] = "straight-through"
    token_temperature: float = 1.0
    temperature: float = 0.1
    spread: float = 0.0
    spread_weight: float = 1.0


RULES[PosteriorConfig] = {
    "token_temperature": POSITIVE,
    "temperature": POSITIVE,
    "spread": NOT_NEGATIVE,
    "spread_weight": NOT_NEGATIVE,
}


@dataclass
class TokenPriorConfig:
    """The prior over token grids without an image, which `gss sample` draws masks from; see `gss.model.token_prior`.

    `channels` at token resolution, twice as many on the coarse map; `depth` and `coarse_depth` shifted-window blocks;
    `frequencies` of the positions on each axis.
    """

    channels: int = 128
    depth: int = 2
    coarse_depth: int = 4
    heads: int = 4
    window: int = 8
    frequencies: int = 6


RULES[TokenPriorConfig] = {
    "channels": AT_LEAST_1,
    "depth": NOT_NEGATIVE,
    "coarse_depth": NOT_NEGATIVE,
    "heads": AT_LEAST_1,
    "window": AT_LEAST_1,
    "frequencies": AT_LEAST_1,
}
