"""Shifted-window transformer blocks (Liu et al. 2021) on feature maps, as the token head and X^-1 (FT-W) use them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.model.attention import attention
from gss.model.bands import in_row_bands

# Larger maps are computed in bands of rows, of at most so many values.
BAND_VALUES = 1 << 24


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
        return x + _in_bands(self._mixed, x, 1)

    def _mixed(self, x: Tensor, _: int) -> Tensor:
        return self.ffn(self.norm2(x))

    def _windowed(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window, shift = self.window, self.shift
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        # `attend` runs again in the backward pass and would keep x alive, so it refers to the size only
        padded, device = (x.shape[1], x.shape[2]), x.device
        if shift:
            x = x.roll((-shift, -shift), (1, 2))

        def attend(rows: Tensor, first: int) -> Tensor:
            mask = _shift_mask(padded, window, shift, range(first, first + rows.shape[1]), device) if shift else None
            return self._attend(rows, mask)

        x = _in_bands(attend, x, window)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention inside the windows of x (B, rows, W, C), whose sides are multiples of the window."""
        batch, height, width, channels = x.shape
        window = self.window
        shape = (batch, height // window, window, width // window, window, channels)
        windows = x.reshape(shape).transpose(2, 3).reshape(-1, window * window, channels)
        windows = self.attention(windows, mask).view(batch, shape[1], shape[3], window, window, channels)
        return windows.transpose(2, 3).reshape(x.shape)


def _in_bands(function: Callable[[Tensor, int], Tensor], x: Tensor, multiple: int) -> Tensor:
    """function(x, 0) for x (B, H, W, C), in bands of rows where x is large; bands are multiples of `multiple` rows."""
    if x.numel() <= BAND_VALUES:
        return function(x, 0)
    rows = max(BAND_VALUES // (x.shape[2] * x.shape[3]) // multiple, 1) * multiple
    return in_row_bands(function, x, rows=rows, dim=1)


def relative_position_index(window: int) -> Tensor:
    """(window^2, window^2): row of the bias table, (dy + window - 1) * (2 window - 1) + dx + window - 1."""
    ys, xs = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    ys, xs = ys.flatten(), xs.flatten()
    dy = ys[:, None] - ys[None, :] + window - 1
    dx = xs[:, None] - xs[None, :] + window - 1
    return dy * (2 * window - 1) + dx


def _shift_mask(size: tuple[int, int], window: int, shift: int, rows: range, device: torch.device) -> Tensor:
    """The attention mask of the windows in these rows of a rolled map of `size` (height, width).

    (windows, window^2, window^2): -100 between tokens that the roll brought together from far apart, else 0.
    """

    def region(length: int) -> Tensor:
        index = torch.arange(length, device=device)
        return (index >= length - window).long() + (index >= length - shift).long()

    regions = region(size[0])[rows.start : rows.stop, None] * 3 + region(size[1])[None, :]
    windows = regions.view(len(rows) // window, window, size[1] // window, window).transpose(1, 2)
    windows = windows.reshape(-1, window**2)
    apart = windows[:, :, None] != windows[:, None, :]
    return torch.where(apart, -100.0, 0.0)
