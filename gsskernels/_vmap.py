"""Rules of the operators for torch.func.vmap."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gsskernels import _ops


def _one_by_one(operator: Any, info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
    """Calls the operator for every element of the batch and stacks the results.

    `in_dims` has a number for a batched tensor, and None, or a list of None, for everything else.
    """
    calls = [
        operator(*(a.select(d, i) if isinstance(d, int) else a for a, d in zip(arguments, in_dims, strict=True)))
        for i in range(info.batch_size)
    ]
    if isinstance(calls[0], Tensor):
        return torch.stack(calls), 0
    stacked = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
    return stacked, (0,) * len(stacked)


def _as_leading_dimension(operator: Any, shifted: int | None) -> Callable[..., tuple[Any, Any]]:
    """A rule that makes one call where only the first argument is batched: its batch becomes a leading dimension.

    `shifted` is the position of the argument that holds a dimension number; it grows by one.
    """

    def rule(info: Any, in_dims: tuple[Any, ...], first: Tensor, *others: Any) -> tuple[Any, Any]:
        if in_dims[0] is None or any(isinstance(d, int) for d in in_dims[1:]):
            return _one_by_one(operator, info, in_dims, first, *others)
        arguments = [first.movedim(in_dims[0], 0), *others]
        if shifted is not None:
            arguments[shifted] += 1
        found = operator(*arguments)
        return found, 0 if isinstance(found, Tensor) else (0,) * len(found)

    return rule


def _batch(operator: Any, rule: Callable[..., tuple[Any, Any]]) -> None:
    torch.library.register_vmap(operator._name, rule, lib=_ops.library)


for _operator, _shifted in (
    (_ops.maskige_encode, None),
    (_ops.maskige_encode_with_gradient, None),
    (_ops.maskige_decode, None),
    (_ops.maskige_decode_margin, None),
    (_ops.label_resize, None),
    (_ops.nearest_code, 2),
    (_ops.linear_argmax, 3),
):
    _batch(_operator, _as_leading_dimension(_operator, _shifted))
# linear_sample is among these: every element of a batch draws with the same seed, as separate calls would.
for _operator in (
    _ops.maskige_evaluate,
    _ops.confusion_matrix,
    _ops.linear_sample,
    _ops.code_statistics,
    _ops.linear_cross_entropy,
    _ops.linear_cross_entropy_with_gradients,
    _ops.linear_cross_entropy_backward,
):
    _batch(_operator, partial(_one_by_one, _operator))
