"""A vector-quantisation codebook learned by exponential moving averages (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

import gsskernels


class Quantized(NamedTuple):
    """`vectors` (B, D, h, w) carry a straight-through gradient; `tokens` (B, h, w) int64; `commitment` is a scalar."""

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor


class VectorQuantizer(nn.Module):
    """V codes of D dimensions, found by `gsskernels.nearest_code`, moved by `gsskernels.code_statistics`.

    A code whose smoothed share of the vectors falls below `dead_share / V` is dead. Dead codes restart at vectors drawn
    with probability proportional to their squared quantisation error (the k-means++ rule): label maps are mostly
    uniform, and a uniform draw would spend the codes on patches that are already exact.
    """

    codebook: Tensor
    smoothed_counts: Tensor
    smoothed_sums: Tensor
    initialised: Tensor

    def __init__(self, codes: int, dim: int, *, decay: float = 0.99, dead_share: float = 0.02) -> None:
        super().__init__()
        if codes < 1 or dim < 1:
            raise ValueError(f"codes and dim: expected at least 1 of each, got {codes} codes of {dim} dimensions")
        if not 0 < decay < 1:
            raise ValueError(f"decay: expected a number between 0 and 1, got {decay}")
        self.decay = decay
        self.dead_share = dead_share
        self.register_buffer("codebook", torch.randn(codes, dim))
        self.register_buffer("smoothed_counts", torch.ones(codes))
        self.register_buffer("smoothed_sums", self.codebook.clone())
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    @property
    def codes(self) -> int:
        return self.codebook.shape[0]

    def tokens(self, x: Tensor) -> Tensor:
        """x (B, D, h, w) -> index of the nearest code, (B, h, w) int64."""
        return gsskernels.nearest_code(x.float(), self.codebook, dim=1)

    def lookup(self, tokens: Tensor) -> Tensor:
        """tokens (B, h, w) -> codes (B, D, h, w)."""
        return nn.functional.embedding(tokens, self.codebook).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Quantized:
        """Quantise x (B, D, h, w); while training, move the codebook towards the batch as well."""
        x = x.float()
        rows = x.detach().permute(0, 2, 3, 1).flatten(0, 2)
        if self.training and not self.initialised:
            self._initialise(rows)
        tokens = self.tokens(x.detach())
        vectors = self.lookup(tokens)
        commitment = (x - vectors).square().mean()
        if self.training:
            self._update(rows, tokens.flatten())
        return Quantized(x + (vectors - x).detach(), tokens, commitment)

    @torch.no_grad()
    def _initialise(self, rows: Tensor) -> None:
        """k-means++ seeding: each code is a vector drawn by its squared distance from the codes so far."""
        rows = rows[torch.randperm(len(rows), device=rows.device)[: 16 * self.codes]]
        fresh = rows.new_empty(self.codebook.shape)
        fresh[0] = rows[0]
        error = (rows - fresh[0]).square().sum(1)
        for code in range(1, self.codes):
            # The floor keeps the draw possible once every vector has a code of its own.
            fresh[code] = rows[torch.multinomial(error + 1e-12, 1)[0]]
            error = torch.minimum(error, (rows - fresh[code]).square().sum(1))
        self._place(torch.arange(self.codes, device=rows.device), fresh)
        self.initialised.fill_(True)

    @torch.no_grad()
    def _update(self, rows: Tensor, tokens: Tensor) -> None:
        error = (rows - self.codebook[tokens]).square().sum(1)
        counts, sums = gsskernels.code_statistics(rows, tokens, self.codes)
        counts, sums = counts.to(rows.dtype), sums.to(rows.dtype)
        _all_reduce(counts)
        _all_reduce(sums)
        self.smoothed_counts.lerp_(counts, 1 - self.decay)
        self.smoothed_sums.lerp_(sums, 1 - self.decay)
        total = self.smoothed_counts.sum()
        # A code that nothing chose keeps its place instead of being divided by nearly nothing.
        alive = self.smoothed_counts > 1e-3
        moved = self.smoothed_sums / self.smoothed_counts.clamp_min(1e-3)[:, None]
        self.codebook.copy_(torch.where(alive[:, None], moved, self.codebook))
        dead = (self.smoothed_counts < self.dead_share * total / self.codes).nonzero().flatten()
        if dead.numel() > 0:
            self._restart(dead, rows, error)

    def _restart(self, codes: Tensor, rows: Tensor, error: Tensor) -> None:
        chosen = torch.multinomial(error + 1e-12, codes.numel(), replacement=True)
        self._place(codes, rows[chosen] + 1e-3 * torch.randn_like(rows[chosen]))

    def _place(self, codes: Tensor, vectors: Tensor) -> None:
        if dist.is_available() and dist.is_initialized():
            dist.broadcast(vectors, src=0)
        # As much weight as an average code, so that a new code gets time to attract vectors.
        share = self.smoothed_counts.mean().clamp_min(1.0)
        self.codebook[codes] = vectors
        self.smoothed_counts[codes] = share
        self.smoothed_sums[codes] = vectors * share


def _all_reduce(x: Tensor) -> None:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
