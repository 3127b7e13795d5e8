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

    Under torch.distributed, with batches of one size, every process ends up with the same codebook, bit by bit: that of
    one process with all batches, in the order of the ranks, up to the rounding of sums. Random numbers are those of
    rank 0.
    """

    codebook: Tensor
    smoothed_counts: Tensor
    smoothed_sums: Tensor
    initialised: Tensor
    restarted: Tensor

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
        self.register_buffer("restarted", torch.zeros(()), persistent=False)

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

    def health(self) -> dict[str, Tensor]:
        """Scalars of the training so far, equal in all processes and cheap enough for every step.

        "perplexity" of the smoothed counts, V where all codes are used alike; "codes_used", those that get at least
        `dead_share` of an equal share; "codes_restarted" by the last update, since they got less.
        """
        share = self.smoothed_counts / self.smoothed_counts.sum()
        used = (share >= self.dead_share / self.codes).sum()
        return {"perplexity": perplexity(share), "codes_used": used, "codes_restarted": self.restarted.clone()}

    @torch.no_grad()
    def _initialise(self, rows: Tensor) -> None:
        """k-means++ seeding: each code is a vector drawn by its squared distance from the codes so far."""
        rows = _all_gather(rows)
        rows = rows[torch.randperm(len(rows), device=rows.device)[: 16 * self.codes]]
        fresh = rows.new_empty(self.codebook.shape)
        fresh[0] = rows[0]
        error = (rows - fresh[0]).square().sum(1)
        for code in range(1, self.codes):
            # The floor keeps the draw possible once every vector has a code of its own.
            fresh[code] = rows[torch.multinomial(error + 1e-12, 1)[0]]
            error = torch.minimum(error, (rows - fresh[code]).square().sum(1))
        self._place(torch.arange(self.codes, device=rows.device), _of_rank_0(fresh))
        self.initialised.fill_(True)

    @torch.no_grad()
    def _update(self, rows: Tensor, tokens: Tensor) -> None:
        error = (rows - self.codebook[tokens]).square().sum(1)
        counts, sums = gsskernels.code_statistics(rows, tokens, self.codes)
        statistics = _all_sum(torch.cat([counts.to(rows.dtype)[:, None], sums.to(rows.dtype)], 1))
        self.smoothed_counts.lerp_(statistics[:, 0], 1 - self.decay)
        self.smoothed_sums.lerp_(statistics[:, 1:], 1 - self.decay)
        total = self.smoothed_counts.sum()
        # A code that nothing chose keeps its place instead of being divided by nearly nothing.
        alive = self.smoothed_counts > 1e-3
        moved = self.smoothed_sums / self.smoothed_counts.clamp_min(1e-3)[:, None]
        self.codebook.copy_(torch.where(alive[:, None], moved, self.codebook))
        dead = (self.smoothed_counts < self.dead_share * total / self.codes).nonzero().flatten()
        self.restarted.fill_(dead.numel())
        if dead.numel() > 0:
            chosen = draw_rows(rows, error + 1e-12, dead.numel())
            self._place(dead, chosen + 1e-3 * _of_rank_0(torch.randn_like(chosen)))

    def _place(self, codes: Tensor, vectors: Tensor) -> None:
        # As much weight as an average code, so that a new code gets time to attract vectors.
        share = self.smoothed_counts.mean().clamp_min(1.0)
        self.codebook[codes] = vectors
        self.smoothed_counts[codes] = share
        self.smoothed_sums[codes] = vectors * share


def code_logits(x: Tensor, codebook: Tensor) -> Tensor:
    """Minus the squared distances of x (B, D, h, w) from all codes (V, D), (B, V, h, w): logits for soft codes."""
    products = nn.functional.conv2d(x, codebook[:, :, None, None])
    return 2 * products - codebook.square().sum(1)[:, None, None] - x.square().sum(1, keepdim=True)


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of a distribution, given as counts or shares (V,): how many codes it is as good as."""
    share = counts / counts.sum()
    return torch.exp(torch.special.entr(share).sum())


def draw_rows(rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """`count` of the rows (N, D) of all processes, with replacement, each with probability proportional to its weight.

    The same in every process: positions on the line of all weights are drawn by rank 0, and each process contributes
    the rows of those that fall on its part of it.
    """
    ends = weights.double().cumsum(0)
    parts = _all_gather(ends[-1:]).cumsum(0)
    positions = _of_rank_0(torch.rand(count, dtype=torch.float64, device=rows.device)) * parts[-1]
    owners = torch.searchsorted(parts, positions, right=True).clamp_max(len(parts) - 1)
    rank = dist.get_rank() if _distributed() else 0
    start = parts[rank] - ends[-1]
    chosen = torch.searchsorted(ends, positions - start, right=True).clamp_max(len(rows) - 1)
    return _all_sum(torch.where((owners == rank)[:, None], rows[chosen], torch.zeros_like(rows[chosen])))


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _all_sum(x: Tensor) -> Tensor:
    if _distributed():
        dist.all_reduce(x)
    return x


def _all_gather(x: Tensor) -> Tensor:
    """The rows of all processes, which have equally many, in the order of the ranks."""
    if not _distributed():
        return x
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _of_rank_0(x: Tensor) -> Tensor:
    if _distributed():
        dist.broadcast(x, src=0)
    return x
