"""Cross-entropy of a linear layer and its gradients in plain PyTorch, one chunk of logits at a time.

With p = softmax(x W^T + b) and q the smoothed target distribution, the loss of a row is -sum_v q_v log p_v and the
gradient of its logits is p - q. The forward pass can compute the gradients from the logits that it holds: three matrix
products. A separate backward pass, which computes the logits again, makes it four.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gsskernels.reference.codebook import _chunks, _rows

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


@dataclass(frozen=True, slots=True)
class CrossEntropyOptions:
    """The options of linear_cross_entropy in a backend. The public function documents and checks all but `gradients`.

    gradients: for which of x, weight and bias the gradient is wanted. The forward pass computes them for the reductions
        "mean" and "sum" only.
    """

    dim: int
    ignore_index: int = -100
    label_smoothing: float = 0.0
    reduction: str = "mean"
    gradients: tuple[bool, bool, bool] = (False, False, False)


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    options: CrossEntropyOptions,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Returns the loss, the log-sum-exp of every row (N,), and the wanted gradients of x, weight and bias."""
    rows, shape = _rows(x, options.dim)
    ids = target.reshape(-1).long()
    wide_weight, wide_bias = _widen(weight), None if bias is None else bias.to(_wide(x))
    count = (ids != options.ignore_index).sum()
    scale = torch.ones((), dtype=_wide(x), device=x.device)
    row_grads = (scale / count if options.reduction == "mean" else scale).expand(ids.shape)
    sums = _Sums(x, weight, options)
    losses, lses = [], []
    of_torch: dict[str, Any] = {"ignore_index": options.ignore_index, "label_smoothing": options.label_smoothing}
    for start, chunk in _chunks(rows, weight.shape[0]):
        part = slice(start, start + chunk.shape[0])
        logits = _logits(chunk, wide_weight, wide_bias)
        losses.append(F.cross_entropy(logits, ids[part], reduction="none", **of_torch))
        lses.append(logits.logsumexp(1))
        if any(options.gradients):
            grad = _logit_gradient(logits, lses[-1], ids[part], row_grads[part], options)
            sums.add(chunk, wide_weight, grad)
    loss = torch.cat(losses)
    if options.reduction != "none":
        return (loss.sum() if options.reduction == "sum" else loss.sum() / count), torch.cat(lses), *sums.found()
    return loss.view(shape), torch.cat(lses), *sums.found()


def linear_cross_entropy_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    options: CrossEntropyOptions,
) -> Gradients:
    """Returns the wanted gradients. `grad` is the gradient of the loss: a scalar, or one number a row for "none"."""
    rows, _ = _rows(x, options.dim)
    ids = target.reshape(-1).long()
    wide_weight, wide_bias = _widen(weight), None if bias is None else bias.to(_wide(x))
    row_grads = grad.to(_wide(x))
    if options.reduction == "mean":
        row_grads = row_grads / (ids != options.ignore_index).sum()
    row_grads = row_grads.reshape(-1).expand(ids.shape)
    sums = _Sums(x, weight, options)
    for start, chunk in _chunks(rows, weight.shape[0]):
        part = slice(start, start + chunk.shape[0])
        logits = _logits(chunk, wide_weight, wide_bias)
        grad_of_logits = _logit_gradient(logits, lse[part], ids[part], row_grads[part], options)
        sums.add(chunk, wide_weight, grad_of_logits)
    return sums.found()


class _Sums:
    """The gradients of x, weight and bias, summed chunk by chunk in at least float32."""

    def __init__(self, x: Tensor, weight: Tensor, options: CrossEntropyOptions) -> None:
        self.dim, self.wanted, self.shape = options.dim, options.gradients, x.movedim(options.dim, -1).shape
        self.x: list[Tensor] = []
        self.weight = torch.zeros(weight.shape, dtype=_wide(x), device=x.device) if self.wanted[1] else None
        self.bias = torch.zeros(weight.shape[:1], dtype=_wide(x), device=x.device) if self.wanted[2] else None

    def add(self, rows: Tensor, weight: Tensor, grad: Tensor) -> None:
        with torch.autocast(rows.device.type, enabled=False):
            if self.wanted[0]:
                self.x.append(grad @ weight)
            if self.weight is not None:
                self.weight.addmm_(grad.t(), rows.to(grad.dtype))
            if self.bias is not None:
                self.bias += grad.sum(0)

    def found(self) -> Gradients:
        x = torch.cat(self.x).view(self.shape).movedim(-1, self.dim).contiguous() if self.wanted[0] else None
        return x, self.weight, self.bias


def _logit_gradient(
    logits: Tensor, lse: Tensor, ids: Tensor, row_grads: Tensor, options: CrossEntropyOptions
) -> Tensor:
    """(p - q) times the upstream gradient of the row; zero for ignored rows, whatever their logits."""
    kept = ids != options.ignore_index
    grad = (logits - lse[:, None]).exp() - options.label_smoothing / logits.shape[1]
    column = torch.where(kept, ids, 0)[:, None]
    grad.scatter_add_(1, column, torch.full_like(column, options.label_smoothing - 1, dtype=grad.dtype))
    return torch.where(kept[:, None], grad * row_grads[:, None], 0.0)


def _logits(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):
        return F.linear(rows.to(weight.dtype), weight, bias)


def _widen(t: Tensor) -> Tensor:
    return t.to(_wide(t))


def _wide(t: Tensor) -> torch.dtype:
    return torch.float64 if t.dtype is torch.float64 else torch.float32
