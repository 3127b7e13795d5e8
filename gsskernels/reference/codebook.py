"""Codebook and token-head operations in plain PyTorch, over chunks of rows: memory is bounded by one chunk of scores.

The argmax works in float64: products of float32 values are exact, neither autocast nor the TF32 switches apply, and the
remaining rounding is small enough to tell a tie from a difference.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_SCORES = 2**19  # scores held at a time: 4 MB in float64, which stays in a CPU's last cache


def nearest_code(x: Tensor, codebook: Tensor, dim: int, precision: str | None) -> Tensor:
    codes = _operand(codebook, precision)
    # |x - c|^2 = |x|^2 - 2 (<x, c> - |c|^2 / 2), and |x|^2 is the same for every code.
    return _affine_argmax(_operand(x, precision), codes, -0.5 * (codes * codes).sum(1), dim)


def linear_argmax(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int, precision: str | None) -> Tensor:
    return _affine_argmax(_operand(x, precision), _operand(weight, precision), _bias(weight, bias), dim)


def linear_sample(x: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, seed: int, dim: int) -> Tensor:
    rows, shape = _rows(x.double(), dim)
    table, offset = weight.double().t(), _bias(weight, bias)
    draws = []
    for start, chunk in _chunks(rows, weight.shape[0]):
        logits = torch.addmm(offset, chunk, table) / temperature
        noisy = logits + _gumbel(seed, start, chunk.shape[0], weight.shape[0], x.device)
        draws.append(_first_argmax(noisy, noisy))
    return torch.cat(draws).view(shape)


def code_statistics(x: Tensor, codes: Tensor, num_codes: int, dim: int) -> tuple[Tensor, Tensor]:
    rows, _ = _rows(x, dim)
    ids = codes.reshape(-1).long()
    ids = torch.where((ids >= 0) & (ids < num_codes), ids, num_codes)  # one more bin, dropped below
    counts = torch.zeros(num_codes + 1, dtype=torch.int64, device=x.device)
    sums = torch.zeros(num_codes + 1, rows.shape[1], dtype=torch.float64, device=x.device)
    for start, chunk in _chunks(rows, max(rows.shape[1], num_codes)):
        # Sorted segments are summed in a fixed order; index_add_ on CUDA adds in the order in which threads arrive.
        order = torch.argsort(ids[start : start + chunk.shape[0]], stable=True)
        found = torch.zeros_like(counts).scatter_add_(0, ids[start : start + chunk.shape[0]], torch.ones_like(order))
        counts += found
        sums += torch.segment_reduce(chunk[order].double(), "sum", lengths=found, unsafe=True, initial=0)
    return counts[:-1], sums[:-1].to(torch.float64 if x.dtype is torch.float64 else torch.float32)


def _affine_argmax(x: Tensor, weight: Tensor, bias: Tensor, dim: int) -> Tensor:
    """``argmax_v <x, w_v> + b_v`` over float64 operands: the lowest index among scores that are equal up to rounding.

    A matrix product may sum the columns of two equal codes in different orders. The rounding error that a score can
    have is therefore added to it, and the first score that reaches the best one wins.
    """
    rows, shape = _rows(x, dim)
    rounding = 4 * (rows.shape[1] + 2) * torch.finfo(torch.float64).eps
    length, reach = _finite_norm(weight), torch.where(bias.isfinite(), bias.abs(), 0)
    found = []
    for _, chunk in _chunks(rows, weight.shape[0]):
        scores = torch.addmm(bias, chunk, weight.t())
        error = torch.addmm(reach, _finite_norm(chunk)[:, None], length[None], beta=rounding, alpha=rounding)
        found.append(_first_argmax(scores, scores + error))
    return torch.cat(found).view(shape)


def _first_argmax(scores: Tensor, reachable: Tensor) -> Tensor:
    """Lowest column whose reachable score is not below the row's best score; NaN compares false, so it never wins."""
    best = torch.where(scores.isnan(), -math.inf, scores).amax(1, keepdim=True)
    return (reachable >= best).to(torch.uint8).argmax(1)


def _finite_norm(vectors: Tensor) -> Tensor:
    norm = vectors.norm(dim=1)
    return torch.where(norm.isfinite(), norm, 0)


def _operand(t: Tensor, precision: str | None) -> Tensor:
    """Rounds to the values that a multiplier of this precision reads; returns them in float64."""
    if precision == "bf16":
        t = t.bfloat16()
    elif precision == "tf32":
        t = t.float()
        bits = t.view(torch.int32)
        rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF  # drop 13 mantissa bits, nearest, ties to even
        t = torch.where(t.isfinite(), rounded.view(torch.float32), t)
    elif precision == "fp32":
        t = t.float()
    return t.double()


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(weight.shape[0], dtype=torch.float64) if bias is None else bias.double()


def _rows(x: Tensor, dim: int) -> tuple[Tensor, list[int]]:
    """x as (N, D), and the shape of its rows."""
    moved = x.movedim(dim, -1)
    shape = list(moved.shape[:-1])
    return moved.reshape(math.prod(shape), moved.shape[-1]), shape


def _chunks(rows: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    """Yields slices of about CHUNK_SCORES / width rows, each with the number of its first row.

    Without rows there is one empty slice.
    """
    start = 0
    for chunk in rows.split(max(1, CHUNK_SCORES // width)):
        yield start, chunk
        start += chunk.shape[0]


# SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), with its 64-bit constants
# as int64.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX2 = 0x94D049BB133111EB - 2**64


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _logical_shift(z, 30)) * _MIX1
    z = (z ^ _logical_shift(z, 27)) * _MIX2
    return z ^ _logical_shift(z, 31)


def _logical_shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _gumbel(seed: int, start: int, num_rows: int, num_codes: int, device: torch.device) -> Tensor:
    """Standard Gumbel noise (num_rows, num_codes) as a pure function of seed, row and code."""
    key = _mix(torch.full((), seed, dtype=torch.int64, device=device) + _GOLDEN)
    row = torch.arange(start, start + num_rows, device=device)[:, None]
    position = row * num_codes + torch.arange(num_codes, device=device)
    bits = _mix(_mix(key + position * _GOLDEN) + _GOLDEN)
    # 52 bits plus one half: never 0, never 1, exact in float64.
    uniform = (_logical_shift(bits, 12).double() + 0.5) * 2.0**-52
    return -torch.log(-torch.log(uniform))
