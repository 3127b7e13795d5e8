"""Names and tensors of a whole GSS model, ours and the official ones both ways.

    ours                                        official
    encoder.backbone                            backbone
    trunk.aggregate.{levels.L, fusion}          decode_head.{convs.I, fusion_conv}
    trunk.{blocks, norm, before_head.0}         decode_head.{transformer_block.blocks, swin_ln, conv_before_seg}
    token_head.free_{weight, bias}              decode_head.conv_seg.{weight, bias}
    pixel_head.aggregate.{levels.L, fusion}     decode_head.{convs_pixel.I, fusion_conv_pixel}
    pixel_head.classifier                       decode_head.conv_seg_pixel
    inverse.{projection, blocks}                decode_head.{projection, post_transformer_block.blocks}
    inverse.{norm, classifier}                  decode_head.{post_swin_ln, cls_segmap.conv}
    tokenizer                                   decode_head.d_vae

The official head takes the levels of the backbone in the order `in_index`, and so do the input channels of its fusions:
convs.I reads level L = in_index[I]. Ours takes them finest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from gss.convert import dalle
from gss.convert.swin import merging_order, official_merging_order, official_swin_name

BACKBONE = "backbone."
OUR_BACKBONE = "encoder.backbone."
HEAD = "decode_head."
DALLE = f"{HEAD}d_vae."
# The order of levels that all official configurations share.
IN_INDEX = (1, 0, 2, 3)

# transformers' Swin has the norm of the classifier, which no map passes through and no official checkpoint holds.
_UNUSED = "encoder.backbone.swin.layernorm."
_MODULES = {
    "trunk.norm": "swin_ln",
    "pixel_head.classifier": "conv_seg_pixel",
    "inverse.norm": "post_swin_ln",
    "inverse.classifier": "cls_segmap.conv",
}
# A 1x1 convolution and its batch norm.
_CONVOLUTIONS = {
    "trunk.aggregate.fusion": "fusion_conv",
    "trunk.before_head.0": "conv_before_seg",
    "pixel_head.aggregate.fusion": "fusion_conv_pixel",
    "inverse.projection": "projection",
}
_LEVELS = {"trunk.aggregate.levels": "convs", "pixel_head.aggregate.levels": "convs_pixel"}
_BLOCKS = {"trunk.blocks": "transformer_block.blocks", "inverse.blocks": "post_transformer_block.blocks"}
_IN_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention": "attn.w_msa",
    "attention.qkv": "attn.w_msa.qkv",
    "attention.proj": "attn.w_msa.proj",
    "ffn.0": "ffn.layers.0.0",
    "ffn.2": "ffn.layers.1",
}
_TOKEN_HEAD = {"token_head.free_weight": "conv_seg.weight", "token_head.free_bias": "conv_seg.bias"}
_FUSIONS = ("trunk.aggregate.fusion.0.weight", "pixel_head.aggregate.fusion.0.weight")


def official_names(names: Iterable[str], in_index: Sequence[int] = IN_INDEX) -> dict[str, str]:
    """Ours -> official, for the names of a GSS model's parameters and buffers; see `official_name`.

    Query, key and value of transformers' Swin share one official name. Left out: the norm that its Swin never uses, and
    the features of codes where a model does not share them, an empty buffer.
    """
    return {
        name: official_name(name, in_index)
        for name in names
        if not name.startswith(_UNUSED) and name != "token_head.code_features"
    }


def official_name(name: str, in_index: Sequence[int] = IN_INDEX) -> str:
    """The official name of one of our weights or buffers.

    Raises ValueError for a part that the official system does not have.
    """
    if name.startswith(OUR_BACKBONE):
        own = name.removeprefix(OUR_BACKBONE)
        is_swin = own.startswith(("swin.", "hidden_states_norms."))
        return BACKBONE + (official_swin_name(own) if is_swin else own)
    if re.match(r"tokenizer\.(encoder|decoder)\.(input|groups|output)\.", name):
        return DALLE + dalle.official_name(name.removeprefix("tokenizer."))
    if name in _TOKEN_HEAD:
        return HEAD + _TOKEN_HEAD[name]
    module, _, leaf = name.rpartition(".")
    if module in _MODULES:
        return f"{HEAD}{_MODULES[module]}.{leaf}"
    if block := re.fullmatch(r"(trunk\.blocks|inverse\.blocks)\.(\d+)\.(.+)", module):
        part, index, inner = block.groups()
        if inner in _IN_BLOCK:
            return f"{HEAD}{_BLOCKS[part]}.{index}.{_IN_BLOCK[inner]}.{leaf}"
    holder, _, layer = module.rpartition(".")
    if layer in ("0", "1"):
        layer = ("conv", "bn")[int(layer)]
        if holder in _CONVOLUTIONS:
            return f"{HEAD}{_CONVOLUTIONS[holder]}.{layer}.{leaf}"
        levels, _, level = holder.rpartition(".")
        if levels in _LEVELS and level.isdecimal() and int(level) in in_index:
            return f"{HEAD}{_LEVELS[levels]}.{list(in_index).index(int(level))}.{layer}.{leaf}"
    raise ValueError(f"{name}: no part of the official system")


def sources(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Official name -> ours, from `official_names`."""
    result: dict[str, list[str]] = {}
    for ours, official in names.items():
        result.setdefault(official, []).append(ours)
    return result


def from_official(
    official: Mapping[str, Tensor], names: Mapping[str, str], in_index: Sequence[int] = IN_INDEX
) -> dict[str, Tensor]:
    """The tensors of `official` that `names` (ours -> official) asks for, under our names and in our layout.

    They are views where no permutation is needed. Weights, gradients and buffers convert alike.
    """
    converted: dict[str, Tensor] = {}
    for name, ours in sources(names).items():
        if name not in official:
            continue
        value = official[name]
        if len(ours) == 3:
            converted.update(zip(ours, value.chunk(3), strict=True))
        elif _is_merging(ours[0]):
            converted[ours[0]] = merging_order(value)
        elif ours[0] in _FUSIONS:
            blocks = value.chunk(len(in_index), 1)
            converted[ours[0]] = torch.cat([blocks[list(in_index).index(level)] for level in range(len(blocks))], 1)
        elif ours[0] == "token_head.free_weight":
            converted[ours[0]] = value.flatten(1)
        else:
            converted[ours[0]] = value
    return converted


def to_official(
    weights: Mapping[str, Tensor], names: Mapping[str, str], in_index: Sequence[int] = IN_INDEX
) -> dict[str, Tensor]:
    """The inverse of `from_official`: those of `weights` that `names` lists, under official names and layout."""
    converted: dict[str, Tensor] = {}
    for name, ours in sources(names).items():
        if any(own not in weights for own in ours):
            continue
        value = weights[ours[0]]
        if len(ours) == 3:
            converted[name] = torch.cat([weights[own] for own in ours])
        elif _is_merging(ours[0]):
            converted[name] = official_merging_order(value)
        elif ours[0] in _FUSIONS:
            blocks = value.chunk(len(in_index), 1)
            converted[name] = torch.cat([blocks[level] for level in in_index], 1)
        elif ours[0] == "token_head.free_weight":
            converted[name] = value[:, :, None, None]
        else:
            converted[name] = value
    return converted


def _is_merging(name: str) -> bool:
    return name.startswith("encoder.backbone.swin.") and ".downsample." in name
