"""Attention for the whole model: xformers' memory-efficient kernels on CUDA where installed, SDPA elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# xformers reads an additive bias in rows of 16 bytes: the last dimension is stored padded to a multiple of this.
BIAS_ALIGNMENT = 8


@cache
def xformers_reason() -> str | None:
    """Why xformers' attention cannot run here, or None if it can."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    try:
        import xformers.ops  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return f"xformers does not import: {error}"
    return None


def attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """softmax(query key^T * scale + bias) value.

    Args:
        query, key, value: (B, heads, M, C), (B, heads, N, C), (B, heads, N, C).
        bias: float, added to the scores; broadcastable to (B, heads, M, N).
        scale: 1 / sqrt(C) by default.

    Returns:
        (B, heads, M, C).

    >>> query, key, value = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    >>> attention(query, key, value).shape
    torch.Size([1, 1, 2, 4])
    """
    if query.is_cuda and xformers_reason() is None:
        return _xformers_attention(query, key, value, bias, scale)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)


def _xformers_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None) -> Tensor:
    from xformers.ops import memory_efficient_attention

    if bias is not None:
        batch, heads, rows, columns = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
        stored = F.pad(bias.to(query.dtype), (0, -columns % BIAS_ALIGNMENT))
        bias = stored[..., :columns].expand(batch, heads, rows, columns)
    # xformers wants (B, M, heads, C).
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return memory_efficient_attention(query, key, value, attn_bias=bias, scale=scale).transpose(1, 2)


def transformers_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """`attention` in the form transformers' AttentionInterface calls; attention dropout is not supported."""
    if dropout:
        raise ValueError(f"dropout: expected 0.0, since fused attention here has no dropout, got {dropout}")
    return attention(query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None
