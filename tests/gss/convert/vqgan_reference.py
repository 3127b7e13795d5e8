"""The VQGAN again, written from the two public layouts as plain functions of a state dict, to compare with.

A layout is its names; the arithmetic is spelled out: attention by its matrices, swish and group norm by their formulas.
Run on an empty `Weights` in a layout, the functions draw every weight where they first need it, and so make a
checkpoint: the same one in both layouts, since they need the weights in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Sizes:
    """channels of each level from the finest; attention levels; a position of each level in the encoder and decoder."""

    channels: tuple[int, ...] = (8, 8, 16)
    attention: tuple[int, ...] = (2,)
    blocks: int = 2
    latent: int = 6
    codes: int = 24
    code_dim: int = 5
    groups: int = 4
    middle_attention: bool = True


@dataclass
class Weights:
    layout: str
    sizes: Sizes
    state: dict[str, Tensor] = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(7))

    def get(self, name: str, *shape: int) -> Tensor:
        if name not in self.state:
            scale = 1 / max(torch.Size(shape[1:]).numel(), 1) ** 0.5 if len(shape) > 1 else 0.3
            drawn = torch.randn(shape, generator=self.generator) * scale
            self.state[name] = drawn + 1 if "norm" in name and name.endswith("weight") else drawn
        return self.state[name]

    # Names of the parts in each layout.

    def block(self, side: str, level: int, index: int) -> str:
        if self.layout == "taming":
            return f"{side}.{'down' if side == 'encoder' else 'up'}.{level}.block.{index}"
        return f"{side}.{self._diffusers_level(side, level)}.resnets.{index}"

    def attention(self, side: str, level: int, index: int) -> str:
        if self.layout == "taming":
            return f"{side}.{'down' if side == 'encoder' else 'up'}.{level}.attn.{index}"
        return f"{side}.{self._diffusers_level(side, level)}.attentions.{index}"

    def resample(self, side: str, level: int) -> str:
        if self.layout == "taming":
            return f"{side}.down.{level}.downsample.conv" if side == "encoder" else f"{side}.up.{level}.upsample.conv"
        kind = "downsamplers" if side == "encoder" else "upsamplers"
        return f"{side}.{self._diffusers_level(side, level)}.{kind}.0.conv"

    def middle(self, side: str, part: str) -> str:
        names = {"first": "mid.block_1", "attention": "mid.attn_1", "second": "mid.block_2"}
        if self.layout == "diffusers":
            names = {"first": "resnets.0", "attention": "attentions.0", "second": "resnets.1"}
            names = {key: f"mid_block.{value}" for key, value in names.items()}
        return f"{side}.{names[part]}"

    def _diffusers_level(self, side: str, level: int) -> str:
        # There the blocks are counted in the order in which they run.
        return f"down_blocks.{level}" if side == "encoder" else f"up_blocks.{len(self.sizes.channels) - 1 - level}"


def conv(w: Weights, name: str, x: Tensor, out: int, kernel: int = 3, stride: int = 1, padding: int | None = None):
    weight, bias = w.get(f"{name}.weight", out, x.shape[1], kernel, kernel), w.get(f"{name}.bias", out)
    return F.conv2d(x, weight, bias, stride=stride, padding=kernel // 2 if padding is None else padding)


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    grouped = x.reshape(batch, w.sizes.groups, -1)
    mean, variance = grouped.mean(2, keepdim=True), grouped.var(2, unbiased=False, keepdim=True)
    normal = ((grouped - mean) / (variance + 1e-6).sqrt()).reshape(x.shape)
    weight, bias = w.get(f"{name}.weight", channels), w.get(f"{name}.bias", channels)
    return normal * weight[:, None, None] + bias[:, None, None]


def swish(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def block(w: Weights, name: str, x: Tensor, out: int) -> Tensor:
    residual = conv(w, f"{name}.conv1", swish(norm(w, f"{name}.norm1", x)), out)
    residual = conv(w, f"{name}.conv2", swish(norm(w, f"{name}.norm2", residual)), out)
    if x.shape[1] != out:
        shortcut = "nin_shortcut" if w.layout == "taming" else "conv_shortcut"
        x = conv(w, f"{name}.{shortcut}", x, out, kernel=1)
    return x + residual


def attention(w: Weights, name: str, x: Tensor) -> Tensor:
    channels = x.shape[1]
    taming = w.layout == "taming"
    names = ("norm", "q", "k", "v", "proj_out") if taming else ("group_norm", "to_q", "to_k", "to_v", "to_out.0")

    def linear(part: str, rows: Tensor) -> Tensor:
        weight = w.get(f"{name}.{part}.weight", channels, channels, *((1, 1) if taming else ()))
        return rows @ weight.reshape(channels, channels).T + w.get(f"{name}.{part}.bias", channels)

    rows = norm(w, f"{name}.{names[0]}", x).flatten(2).permute(0, 2, 1)
    query, key, value = (linear(part, rows) for part in names[1:4])
    scores = query @ key.permute(0, 2, 1) / channels**0.5
    weights = scores.exp() / scores.exp().sum(2, keepdim=True)
    return x + linear(names[4], weights @ value).permute(0, 2, 1).reshape(x.shape)


def middle(w: Weights, side: str, x: Tensor) -> Tensor:
    x = block(w, w.middle(side, "first"), x, x.shape[1])
    if w.sizes.middle_attention:
        x = attention(w, w.middle(side, "attention"), x)
    return block(w, w.middle(side, "second"), x, x.shape[1])


def encode(w: Weights, maskige: Tensor) -> tuple[Tensor, Tensor]:
    """The latents that are compared with the codes (B, D, h, w), and the nearest codes (B, h, w)."""
    sizes, last = w.sizes, len(w.sizes.channels) - 1
    x = conv(w, "encoder.conv_in", maskige * 2 - 1, sizes.channels[0])
    for level, width in enumerate(sizes.channels):
        for index in range(sizes.blocks):
            x = block(w, w.block("encoder", level, index), x, width)
            if level in sizes.attention:
                x = attention(w, w.attention("encoder", level, index), x)
        if level < last:
            padded = torch.zeros(*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
            padded[..., :-1, :-1] = x
            x = conv(w, w.resample("encoder", level), padded, width, stride=2, padding=0)
    x = middle(w, "encoder", x)
    x = swish(norm(w, "encoder.norm_out" if w.layout == "taming" else "encoder.conv_norm_out", x))
    x = conv(w, "quant_conv", conv(w, "encoder.conv_out", x, sizes.latent), sizes.code_dim, kernel=1)
    codebook = w.get("quantize.embedding.weight", sizes.codes, sizes.code_dim)
    return x, torch.cdist(x.permute(0, 2, 3, 1).double(), codebook.double()).argmin(-1)


def decode(w: Weights, tokens: Tensor) -> Tensor:
    """tokens (B, h, w) -> maskige (B, 3, H, W) in 0..1."""
    sizes = w.sizes
    vectors = w.get("quantize.embedding.weight", sizes.codes, sizes.code_dim)[tokens].permute(0, 3, 1, 2)
    x = conv(w, "decoder.conv_in", conv(w, "post_quant_conv", vectors, sizes.latent, kernel=1), sizes.channels[-1])
    x = middle(w, "decoder", x)
    for level in reversed(range(len(sizes.channels))):
        for index in range(sizes.blocks + 1):
            x = block(w, w.block("decoder", level, index), x, sizes.channels[level])
            if level in sizes.attention:
                x = attention(w, w.attention("decoder", level, index), x)
        if level > 0:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = conv(w, w.resample("decoder", level), x, sizes.channels[level])
    x = swish(norm(w, "decoder.norm_out" if w.layout == "taming" else "decoder.conv_norm_out", x))
    return ((conv(w, "decoder.conv_out", x, 3) + 1) / 2).clamp(0, 1)


def checkpoint(layout: str, sizes: Sizes | None = None) -> Weights:
    """All weights of a model, the same values in both layouts."""
    weights = Weights(layout, sizes or Sizes())
    side = 2 ** (len(weights.sizes.channels) - 1)
    _, tokens = encode(weights, torch.zeros(1, 3, side, side))
    decode(weights, tokens)
    return weights
