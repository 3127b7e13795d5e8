"""The learned parts beside the tokenizer: the conditioning network's head, X^-1, X, and the prior over tokens alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gss.config.settings import CHECKED, BelowOne, Count, CountOrZero, Flag, NotNegative, Positive, Whole


@dataclass(config=CHECKED)
class PriorConfig:
    """Head of the conditioning network: fused levels, Swin blocks, token logits (arXiv 2303.11316, section 3.3)."""

    level_channels: Count = 64  # of each backbone level before they are fused
    trunk_channels: Count = 128  # of the fused map
    head_channels: Count = 256  # of the map that the token logits are read from
    swin_channels: Count = 128  # must equal `trunk_channels` where `swin_stride` is 1
    swin_stride: Annotated[Whole, Field(ge=1, le=2)] = 1  # 2: the Swin blocks run at half the token resolution
    swin_depth: CountOrZero = 2  # number of Swin blocks
    swin_heads: Count = 4
    window: Count = 7  # tokens along each side of an attention window
    dropout: BelowOne = 0.1
    token_loss: NotNegative = 0.8  # weight of the cross-entropy of tokens
    pixel_loss: NotNegative = 0.2  # weight of the cross-entropy of the auxiliary pixel head
    # Where the auxiliary pixel head reads: the map that the trunk fused ("shared", the paper's MSeg models), one fused
    # from the backbone's levels by itself ("separate", its other models); "none" for models that only predict.
    pixel_branch: Literal["shared", "separate", "none"] = "shared"
    class_balance: NotNegative = 0.0  # b: losses weigh classes by share^-b; 0 is the paper's plain mean
    share_codes: Flag = False  # tokens that decode to similar labels share logit weights, see `TokenHead`
    # The decoded token: the most likely one of every cell ("argmax", the paper's), or the labels that its likely tokens
    # agree on ("consensus", see `TokenHead.consensus`).
    decode: Literal["argmax", "consensus"] = "argmax"


@dataclass(config=CHECKED)
class InverseConfig:
    """X^-1, from a decoded maskige to classes (arXiv 2303.11316, section 3.2)."""

    # The nearest palette colour, which learns nothing (GSS-FF); three convolutions (GSS-FT); or shifted-window blocks
    # (GSS-FT-W).
    type: Literal["nearest", "convolution", "window"] = "nearest"
    channels: Count = 128
    depth: CountOrZero = 1  # shifted-window blocks of "window"
    heads: Count = 4
    window: Count = 7  # tokens along each side of an attention window
    # Trained on maskiges that the frozen prior predicts from photos, as in the official code ("photo"), or on those
    # reconstructed from the labels, as in the paper's first stage ("labels").
    source: Literal["photo", "labels"] = "photo"


@dataclass(config=CHECKED)
class PosteriorConfig:
    """Learning the palette (arXiv 2303.11316, section 3.2): GSS-TF with nearest colours as X^-1, or GSS-TT."""

    learn: Flag = False
    # Replaces the choice of a code in the backward pass: the softmax over codes, or the same with Gumbel noise, which
    # also draws the code.
    estimator: Literal["straight-through", "gumbel"] = "straight-through"
    token_temperature: Positive = 1.0  # of the softmax over codes
    temperature: Positive = 0.1  # of squared distances from the learned colours (0..1), for the nearest colour as X^-1
    spread: NotNegative = 0.0  # colours nearer than this, in sides of the colour cube, are pushed apart
    spread_weight: NotNegative = 1.0  # weight of that loss


@dataclass(config=CHECKED)
class TokenPriorConfig:
    """The prior over token grids without an image, which `gss sample` draws masks from; see `gss.model.token_prior`."""

    channels: Count = 128  # at token resolution; twice as many on the coarse map
    depth: CountOrZero = 2  # shifted-window blocks at token resolution
    coarse_depth: CountOrZero = 4  # shifted-window blocks on the coarse map
    heads: Count = 4
    window: Count = 8  # cells along each side of an attention window
    frequencies: Count = 6  # of the position features on each axis
