"""Shifted-window transformer blocks (Liu et al. 2021) on feature maps, as the token head and X^-1 (FT-W) use them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attention


class WindowAttention(nn.Module):
    """Self-attention inside windows of side `window`, with a learned bias for every relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"swin_heads: expected a divisor of {channels} channels, got {heads}")
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """windows (B * windows, window^2, C); mask (windows, window^2, window^2) or None, added to the scores."""
        count, area, channels = windows.shape
        query, key, value = self.qkv(windows).view(count, area, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(area, area, self.heads).permute(2, 0, 1)[None].to(query.dtype)
        if mask is not None:
            masked = bias + mask[:, None].to(query.dtype)
            bias = masked.repeat(count // mask.shape[0], 1, 1, 1)
        mixed = attention(query, key, value, bias)
        return self.proj(mixed.transpose(1, 2).reshape(count, area, channels))


class SwinBlock(nn.Module):
    """Pre-norm block: windowed attention, then an FFN of twice the channels. `shift` > 0 rolls the windows.

    Maps whose sides are no multiple of the window are padded with zero tokens that attention is allowed to see, as in
    the GSS head.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> same shape."""
        x = x + self._windowed(self.norm1(x))
        return x + self.ffn(self.norm2(x))

    def _windowed(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        window, shift = self.window, self.shift
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        padded_height, padded_width = x.shape[1:3]
        mask = None
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
            mask = _shift_mask(padded_height, padded_width, window, shift, x.device)
        rows, columns = padded_height // window, padded_width // window
        windows = x.view(batch, rows, window, columns, window, channels).transpose(2, 3)
        windows = self.attention(windows.reshape(-1, window * window, channels), mask)
        x = windows.view(batch, rows, columns, window, window, channels).transpose(2, 3)
        x = x.reshape(batch, padded_height, padded_width, channels)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]


def relative_position_index(window: int) -> Tensor:
    """(window^2, window^2): row of the bias table, (dy + window - 1) * (2 window - 1) + dx + window - 1."""
    ys, xs = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    ys, xs = ys.flatten(), xs.flatten()
    dy = ys[:, None] - ys[None, :] + window - 1
    dx = xs[:, None] - xs[None, :] + window - 1
    return dy * (2 * window - 1) + dx


def _shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(windows, window^2, window^2): -100 between tokens that the roll brought together from far apart."""

    def region(size: int) -> Tensor:
        index = torch.arange(size, device=device)
        return (index >= size - window).long() + (index >= size - shift).long()

    regions = region(height)[:, None] * 3 + region(width)[None, :]
    windows = regions.view(height // window, window, width // window, window).transpose(1, 2).reshape(-1, window**2)
    apart = windows[:, :, None] != windows[:, None, :]
    return torch.where(apart, -100.0, 0.0)
