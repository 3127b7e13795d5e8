"""Settings of the networks beside the tokenizer: the prior, X^-1, X, and the prior over tokens without an image."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from gss.config.fields import SETTINGS, AtLeast0, AtLeast1, Below1, Flag, NotNegative, Positive


@dataclass(config=SETTINGS)
class PriorConfig:
    """The conditioning network after the backbone: multi-level aggregation, Swin blocks, token logits.

    Source: arXiv 2303.11316, section 3.3.

    Args:
        level_channels: channels of each backbone level before the fusion.
        trunk_channels: channels of the fused map.
        head_channels: channels of the map that the token head reads.
        swin_channels: channels of the Swin blocks; equal to trunk_channels where swin_stride is 1.
        swin_stride: 1 runs the Swin blocks on the fused map, as in the paper; 2 on 2x2 merged cells.
        swin_depth: number of Swin blocks.
        dropout: of whole channels before the token head.
        token_loss, pixel_loss: weights of the two losses of stage 2.
        pixel_branch: input of the auxiliary pixel head. "shared": the map that the trunk fused, as in the paper's MSeg
            models. "separate": a map fused by the head itself, as in its other models. "none": no head, for models that
            only predict.
        class_balance: b weighs classes by share^-b in the losses of stage 2; 0 is the paper's plain mean.
        share_codes: tokens with similar label patches share logit weights, see `gss.model.prior.TokenHead`.
        decode: "argmax" decodes the most likely token of each cell, as the paper does; "consensus" the codes that most
            tokens agree on, see `gss.model.prior.TokenHead.consensus`.
    """

    level_channels: AtLeast1 = 64
    trunk_channels: AtLeast1 = 128
    head_channels: AtLeast1 = 256
    swin_channels: AtLeast1 = 128
    swin_stride: Literal[1, 2] = 1
    swin_depth: AtLeast0 = 2
    swin_heads: AtLeast1 = 4
    window: AtLeast1 = 7
    dropout: Below1 = 0.1
    token_loss: NotNegative = 0.8
    pixel_loss: NotNegative = 0.2
    pixel_branch: Literal["shared", "separate", "none"] = "shared"
    class_balance: NotNegative = 0.0
    share_codes: Flag = False
    decode: Literal["argmax", "consensus"] = "argmax"


@dataclass(config=SETTINGS)
class InverseConfig:
    """X^-1, from a painted maskige back to classes (arXiv 2303.11316, section 3.2).

    Args:
        type: "nearest" takes the nearest palette colour and learns nothing (GSS-FF); "convolution" is a network of
            three convolutions (GSS-FT); "window" has shifted-window blocks (GSS-FT-W).
        channels: width of the network.
        depth, heads, window: of the shifted-window blocks.
        source: training data of the network. "photo": maskiges that the frozen prior predicts, as in the official code.
            "labels": maskiges reconstructed from the labels, as in the paper's first stage.
    """

    type: Literal["nearest", "convolution", "window"] = "nearest"
    channels: AtLeast1 = 128
    depth: AtLeast0 = 1
    heads: AtLeast1 = 4
    window: AtLeast1 = 7
    source: Literal["photo", "labels"] = "photo"


@dataclass(config=SETTINGS)
class PosteriorConfig:
    """Learning of the palette: GSS-TF with the nearest colour as X^-1, GSS-TT with a learned one (section 3.2).

    Args:
        learn: whether the recipe has this stage.
        estimator: gradient of the choice of a code. "straight-through": that of the softmax over codes. "gumbel": the
            same with Gumbel noise, which also draws the code.
        token_temperature: of that softmax.
        temperature: of the squared distances from the learned colours (0..1), with the nearest colour as X^-1.
        spread: colours nearer than this are pushed apart, in units of the side of the colour cube.
        spread_weight: weight of that term in the loss.
    """

    learn: Flag = False
    estimator: Literal["straight-through", "gumbel"] = "straight-through"
    token_temperature: Positive = 1.0
    temperature: Positive = 0.1
    spread: NotNegative = 0.0
    spread_weight: NotNegative = 1.0


@dataclass(config=SETTINGS)
class TokenPriorConfig:
    """The prior over token grids without an image, see `gss.model.token_prior`; `gss sample` draws from it.

    Args:
        channels: at token resolution; the coarse map has twice as many.
        depth, coarse_depth: shifted-window blocks on the full and on the coarse map.
        frequencies: of the position encoding on each axis.
    """

    channels: AtLeast1 = 128
    depth: AtLeast0 = 2
    coarse_depth: AtLeast0 = 4
    heads: AtLeast1 = 4
    window: AtLeast1 = 8
    frequencies: AtLeast1 = 6
