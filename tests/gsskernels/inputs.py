"""Inputs and comparisons that the tests of gsskernels share. Tensors are made on torch's default device."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gsskernels.reference.codebook import _operand

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
INF, NAN = math.inf, math.nan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def random_palette(num_classes: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (num_classes, 3), generator=seeded(seed)).float()


def same(a: object, b: object) -> bool:
    """Whether two tensors, or two tuples of tensors, have equal dtypes and values."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    return a.dtype == b.dtype and torch.equal(a, b)


def assert_best(
    index: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, precision: str | None = None
) -> None:
    """Checks the documented bound: (D + 2) * 2^-23 * max_v(|x| |w_v| + |b_v|) below the best float64 score at most.

    x (N, D), weight (V, D), bias (V,), or None for a codebook, whose bias is -|c|^2 / 2. The bound holds for the
    operands as `precision` rounds them.
    """
    assert index.dtype is torch.int64 and index.shape == x.shape[:1]
    x, weight = _operand(x, precision), _operand(weight, precision)
    bias = -0.5 * weight.square().sum(1) if bias is None else bias.double()
    scores = torch.addmm(bias, x, weight.T)
    size = torch.addmm(bias.abs(), x.norm(dim=1)[:, None], weight.norm(dim=1)[None]).amax(1)
    slack = (x.shape[1] + 2) * 2.0**-23 * size
    assert bool((scores.amax(1) - scores.gather(1, index[:, None])[:, 0] <= slack).all())


def require_memory(gib: float) -> None:
    """Skips the test where the default device is a GPU with too little free memory."""
    if torch.get_default_device().type == "cuda":
        free = torch.cuda.mem_get_info()[0] / 2**30
        if free < 1.2 * gib:
            pytest.skip(f"needs {gib} GiB of GPU memory, {free:.1f} GiB are free")


def assert_as_copies(function: Callable[..., Any], *arguments: Any, close: bool = False, **options: Any) -> None:
    """Checks that tensors of any strides give what contiguous copies of them give; `close` allows rounding."""
    got = function(*arguments, **options)
    wanted = function(*(a.clone(memory_format=torch.contiguous_format) if isinstance(a, Tensor) else a
                        for a in arguments), **options)  # fmt: skip
    if close:
        torch.testing.assert_close(got, wanted)
    else:
        assert same(got, wanted)


def assert_as_reference(
    function: Callable[..., Any],
    *arguments: Any,
    close: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    **options: Any,
) -> None:
    """Checks that the backend under test gives what the reference gives; `close` allows rounding."""
    got, wanted = function(*arguments, **options), function(*arguments, **options, backend="reference")
    if close:
        torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol)
    else:
        assert same(got, wanted)
