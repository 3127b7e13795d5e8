"""maskige_encode: palette[label] as planar images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels import official
from benchmarks.kernels.cases import Case
from benchmarks.kernels.providers import (
    COMPILED,
    EVERYWHERE,
    OFFICIAL,
    Inputs,
    Provider,
    compiled,
    copy_of_the_same_bytes,
    no_bfloat16,
    only,
    ours,
    small_torch_op,
)


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (inputs.labels, inputs.palette), {"dtype": inputs.dtype}


def _table(inputs: Inputs) -> Tensor:
    """The palette with the ignore colour, black, as its last row."""
    return torch.cat([inputs.palette, inputs.palette.new_zeros(1, 3)])


def _official(inputs: Inputs) -> Callable[[], Any]:
    table = _table(inputs)
    return lambda: official.encode(inputs.labels.long(), table)


def _gather(labels: Tensor, table: Tensor) -> Tensor:
    """One gather a plane: nothing is transposed, and torch.compile makes one loop of it."""
    row = labels.int().clamp(max=table.shape[1] - 1)
    return torch.stack([table[channel][row] for channel in range(3)], 1)


def _eager(inputs: Inputs) -> Callable[[], Any]:
    return partial(_gather, inputs.labels, _table(inputs).to(inputs.dtype).t().contiguous())


def _compiled(inputs: Inputs) -> Callable[[], Any]:
    return compiled(_gather, inputs.labels, _table(inputs).to(inputs.dtype).t().contiguous())


def _lookup(inputs: Inputs) -> np.ndarray:
    """(3, 256): the colour of every byte."""
    table = torch.zeros(256, 3, dtype=inputs.dtype)
    table[: inputs.classes] = inputs.palette.to(inputs.dtype)
    return table.t().contiguous().numpy()


def _numpy(inputs: Inputs) -> Callable[[], Any]:
    lookup, labels = _lookup(inputs), inputs.labels.numpy()

    def call() -> np.ndarray:
        out = np.empty((len(labels), 3, *labels.shape[1:]), lookup.dtype)
        for channel in range(3):
            np.take(lookup[channel], labels[0], out=out[0, channel], mode="clip")
        return out

    return call


def _opencv(inputs: Inputs) -> Callable[[], Any]:
    import cv2

    lookup, labels = _lookup(inputs), inputs.labels.numpy()

    def call() -> np.ndarray:
        out = np.empty((len(labels), 3, *labels.shape[1:]), lookup.dtype)
        for channel in range(3):
            cv2.LUT(labels[0], lookup[channel], dst=out[0, channel])
        return out

    return call


def _clone(inputs: Inputs) -> Callable[[], Any]:
    """Writing the result, once it is known: torch allocates and copies it."""
    return partial(torch.clone, torch.zeros(1, 3, *inputs.size, dtype=inputs.dtype, device=inputs.device))


def _float32_only(case: Case) -> str | None:
    return only("float32")(case)


PROVIDERS = {
    "maskige_encode": [
        copy_of_the_same_bytes(),
        Provider("torch.clone of the result", _clone, role="roof"),
        Provider(OFFICIAL, _official, studies=EVERYWHERE, cannot=_float32_only),
        Provider("eager PyTorch", _eager, studies=(*EVERYWHERE, "overhead")),
        Provider(COMPILED, _compiled, studies=EVERYWHERE),
        Provider("numpy", _numpy, "numpy", cannot=no_bfloat16),
        Provider("OpenCV LUT", _opencv, "opencv", studies=("table", "threads"), cannot=no_bfloat16),
        small_torch_op(),
        *ours("maskige_encode", _arguments),
    ]
}
