"""When an answer is wrong: equality where the contract promises it, else distance from float64 against a bound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.checks import Wrong

SCORES = 2**26  # float64 scores held at a time


def same(got: Any, wanted: Any, what: str = "the result") -> None:
    """Every tensor has the reference's dtype, shape and values; NaN equals NaN."""
    if isinstance(wanted, (tuple, list)):
        for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
            same(a, b, f"{what}[{i}]")
        return
    if got.dtype is not wanted.dtype or got.shape != wanted.shape:
        raise Wrong(f"{what} is {_kind(got)}, expected {_kind(wanted)}")
    different = (got != wanted) & ~((got != got) & (wanted != wanted))
    count = int(different.sum())
    if count:
        first = tuple(different.nonzero()[0].tolist())
        raise Wrong(
            f"{count} of {got.numel()} values of {what} {tuple(got.shape)} differ; the first at {first}: "
            f"{got[first].item()}, expected {wanted[first].item()}"
        )


def close(got: Tensor, wanted: Tensor, rtol: float, atol: float, what: str = "the result") -> dict[str, float]:
    """|got - wanted| <= atol + rtol |wanted| everywhere, infinities and NaN in the same places."""
    if got.dtype is not wanted.dtype or got.shape != wanted.shape:
        raise Wrong(f"{what} is {_kind(got)}, expected {_kind(wanted)}")
    finite = wanted.isfinite()
    same(torch.where(finite, 0, got), torch.where(finite, 0, wanted), f"what is not finite of {what}")
    error = torch.where(finite, (got.double() - wanted.double()).abs(), 0)
    excess = error - atol - rtol * torch.where(finite, wanted.double(), 0).abs()
    if excess.numel() and not bool((excess <= 0).all()):
        first = tuple((~(excess <= 0)).nonzero()[0].tolist())
        raise Wrong(f"{what} at {first} is {got[first].item()}, expected {wanted[first].item()} (rtol {rtol:g})")
    return {"max_error": float(error.max()) if error.numel() else 0.0}


def best(index: Tensor, x: Tensor, weight: Tensor, bias: Tensor, features: int) -> dict[str, float]:
    """The float64 score of the index is below the best by at most (D + 2) 2^-23 max_v(|x| |w_v| + |b_v|).

    x (N, D), weight (V, D), bias (V,): float64, with the values a multiplier of the precision sees.
    """
    if index.dtype is not torch.int64 or index.shape != x.shape[:1]:
        raise Wrong(f"the index is {_kind(index)}, expected int64 {tuple(x.shape[:1])}")
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(weight):
        raise Wrong(f"indices reach from {int(index.min())} to {int(index.max())}, expected 0 to {len(weight) - 1}")
    length, reach = weight.norm(dim=1), bias.abs()
    different, worst = 0, 0.0
    for start in range(0, len(x), max(1, SCORES // len(weight))):
        part = slice(start, start + max(1, SCORES // len(weight)))
        scores = torch.addmm(bias, x[part], weight.t())
        most, first = scores.max(1)
        taken = scores.gather(1, index[part, None])[:, 0]
        size = torch.addmm(reach, x[part].norm(dim=1)[:, None], length[None]).amax(1)
        share = (most - taken) / ((features + 2) * 2.0**-23 * size).clamp(min=1e-300)
        different += int((index[part] != first).sum())
        if not bool((share <= 1).all()):
            at = int((~(share <= 1)).nonzero()[0])
            raise Wrong(
                f"row {start + at} got {int(index[start + at])} with the score {taken[at].item()!r}, the best is "
                f"{int(first[at])} with {most[at].item()!r}: {share[at].item():.3g} times the bound; "
                f"{int((~(share <= 1)).sum())} rows of this part are wrong"
            )
        worst = max(worst, float(share.max()))
    return {"not_the_float64_winner": different, "rows": len(x), "worst_share_of_bound": worst}


def no_worse(got: Tensor, torch_result: Tensor, truth: Tensor, what: str, steep: float = 1.0) -> dict[str, float]:
    """The error is at most twice that of PyTorch in the same dtype, and nowhere above four times PyTorch's largest.

    Both give or take 8 roundings in the dtype of the sums: float64 is its own truth, and few numbers can be lucky.
    steep: by how much the function magnifies a rounding, as exp does one of a large logit.
    """
    if got.shape != truth.shape:
        raise Wrong(f"{what} has shape {tuple(got.shape)}, expected {tuple(truth.shape)}")
    if not got.numel():
        return {}
    sums = torch.float64 if got.dtype is torch.float64 else torch.float32
    rounding = 8 * steep * torch.finfo(sums).eps
    whole, largest = float(truth.norm()), float(truth.abs().max())
    ours, theirs = (t.double() - truth for t in (got, torch_result))
    for measure, times, size in ((Tensor.norm, 2, whole), (lambda t: t.abs().max(), 4, largest)):
        error, bound = float(measure(ours)), times * float(measure(theirs)) + rounding * size
        if not error <= bound:
            kind = "the error" if times == 2 else "the largest error"
            raise Wrong(
                f"{kind} of {what} is {error:.4g}, expected at most {bound:.4g}; the result's size is {size:.4g}"
            )
    relative = {name: float(t.norm()) / whole if whole else 0.0 for name, t in (("", ours), ("_torch", theirs))}
    return {f"{what}_error{name}": value for name, value in relative.items()}


def follows(counts: Tensor, probability: Tensor) -> dict[str, float]:
    """Pearson's chi-squared of draws against their distribution; cells that expect few draws are pooled."""
    order = probability.argsort(descending=True)
    expected, found = (probability * counts.sum())[order].double(), counts[order].double()
    frequent = int((expected >= 10).sum())
    if frequent < len(expected):
        expected = torch.cat([expected[:frequent], expected[frequent:].sum(0, keepdim=True)])
        found = torch.cat([found[:frequent], found[frequent:].sum(0, keepdim=True)])
    kept = expected > 0
    if bool((found[~kept] > 0).any()):
        raise Wrong("something was drawn that has no probability")
    expected, found = expected[kept], found[kept]
    statistic = ((found - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    p = float(torch.special.gammaincc(freedom, statistic.cpu() / 2))
    if p < 1e-6:
        raise Wrong(f"chi-squared {float(statistic):.1f} at {len(expected) - 1} degrees of freedom: p = {p:.2g}")
    return {"chi_squared": float(statistic), "degrees_of_freedom": len(expected) - 1, "p": p}


def _kind(t: Tensor) -> str:
    return f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}"
