"""Official Swin checkpoints to the layout of transformers' SwinBackbone.

Three things differ beside the names: query, key and value are one matrix; patch merging reads its 2x2 patches in
another order; and the norms of the returned maps are called norm0 to norm3 (mmseg's layout, which its ImageNet
checkpoints share). Both implementations pad windows with zeros that attention sees and shift every odd block even on
maps smaller than the window, so the numbers agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.model.swin import relative_position_index

# Ours -> official; {q}, {k}, {v} are thirds of one official tensor.
_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.q_proj": "attn.w_msa.qkv",
    "attention.k_proj": "attn.w_msa.qkv",
    "attention.v_proj": "attn.w_msa.qkv",
    "attention.o_proj": "attn.w_msa.proj",
    "attention.relative_position_bias": "attn.w_msa",
    "mlp.fc1": "ffn.layers.0.0",
    "mlp.fc2": "ffn.layers.1",
}
_TABLE = ".relative_position_bias_table"
_INDEX = ".relative_position_index"


def official_swin_name(key: str) -> str:
    """The official name of a weight of transformers' SwinBackbone; ValueError for one that has none."""
    module, _, leaf = key.rpartition(".")
    if block := re.fullmatch(r"swin\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.(.+)", module):
        stage, index, part = block.groups()
        if part in _BLOCK:
            return f"stages.{stage}.blocks.{index}.{_BLOCK[part]}.{leaf}"
    elif merging := re.fullmatch(r"swin\.encoder\.layers\.(\d+)\.downsample\.(reduction|norm)", module):
        return f"stages.{merging[1]}.downsample.{merging[2]}.{leaf}"
    elif norm := re.fullmatch(r"hidden_states_norms\.stage(\d+)", module):
        return f"norm{int(norm[1]) - 1}.{leaf}"
    elif module in ("swin.embeddings.patch_embeddings.projection", "swin.embeddings.norm"):
        return f"patch_embed.{module.rpartition('.')[2]}.{leaf}"
    raise ValueError(f"{key}: not a weight of the SwinBackbone layout that this conversion knows")


def merging_order(value: Tensor) -> Tensor:
    """Patch merging's input dimension, the last, from (channel, row, column) order to (column, row, channel) order.

    Args:
        value: (..., 4 C): element c * 4 + row * 2 + column belongs to channel c of that pixel of the 2x2 patch.
    """
    channels = value.shape[-1] // 4
    return value.unflatten(-1, (channels, 2, 2)).movedim((-1, -3), (-3, -1)).flatten(-3)


def official_merging_order(value: Tensor) -> Tensor:
    """The inverse of `merging_order`, (..., 4 C) -> (..., 4 C)."""
    channels = value.shape[-1] // 4
    return value.unflatten(-1, (2, 2, channels)).movedim((-1, -3), (-3, -1)).flatten(-3)


def check_position_indices(official: Mapping[str, Tensor]) -> list[str]:
    """Names of relative position indices that differ from Swin's order of relative positions, or have no table.

    The index is not converted, since it follows from the window; another order would make the bias tables wrong.
    """
    wrong = []
    for name in official:
        if name.endswith(_INDEX):
            table = official.get(name.removesuffix(_INDEX) + _TABLE)
            # A table has (2 window - 1)^2 rows.
            window = 0 if table is None else (math.isqrt(table.shape[0]) + 1) // 2
            index = official[name]
            right = window > 0 and index.shape == (window**2, window**2)
            if right and not index.is_meta:
                right = torch.equal(index.cpu(), relative_position_index(window))
            if not right:
                wrong.append(name)
    return wrong


def resize_tables(official: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """`official` with its relative position tables resized to the rows that `shapes` has, as Swin is fine-tuned.

    Tables ((2 window - 1)^2, heads) are resized as pictures, bicubically; those of other heads are left as they are.
    """
    resized = dict(official)
    for name, shape in shapes.items():
        table = official.get(name)
        if not name.endswith(_TABLE) or table is None or table.ndim != 2:
            continue
        before, after, heads = math.isqrt(table.shape[0]), math.isqrt(shape[0]), shape[1]
        if table.shape[1] == heads and before != after and before**2 == table.shape[0]:
            picture = table.float().T.reshape(1, heads, before, before)
            picture = F.interpolate(picture, size=(after, after), mode="bicubic", align_corners=False)
            resized[name] = picture.reshape(heads, after**2).T.to(table.dtype)
    return resized
