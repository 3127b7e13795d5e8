"""Providers of maskige_encode (palette[label] as planar images) and maskige_decode (nearest palette colour a pixel)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels import official
from benchmarks.kernels.cases import scores_bytes
from benchmarks.kernels.providers import (
    COMPILED,
    CPU,
    EAGER,
    OFFICIAL,
    ONE_COPY,
    SMALL_OP,
    SWEEPS,
    Inputs,
    Provider,
    compiled,
    no_bfloat16,
    only,
    ours,
    too_large,
)

# --- maskige_encode -------------------------------------------------------------------------------------------------


def _table(inputs: Inputs) -> Tensor:
    """The palette with the ignore colour, black, as its last row."""
    return torch.cat([inputs.palette, inputs.palette.new_zeros(1, 3)])


def _official_encode(inputs: Inputs) -> Callable[[], Any]:
    table = _table(inputs)
    return lambda: official.encode(inputs.labels.long(), table)


def _gather(labels: Tensor, table: Tensor) -> Tensor:
    """One gather a plane: nothing is transposed, and torch.compile makes one loop of it."""
    row = labels.int().clamp(max=table.shape[1] - 1)
    return torch.stack([table[channel][row] for channel in range(3)], 1)


def _planes(inputs: Inputs) -> Tensor:
    return _table(inputs).to(inputs.dtype).t().contiguous()


def _opencv_encode(inputs: Inputs) -> Callable[[], Any]:
    import cv2

    table = torch.zeros(256, 3, dtype=inputs.dtype)
    table[: inputs.classes] = inputs.palette.to(inputs.dtype)
    lookup, labels = table.t().contiguous().numpy(), inputs.labels.numpy()

    def call() -> np.ndarray:
        out = np.empty((len(labels), 3, *labels.shape[1:]), lookup.dtype)
        for channel in range(3):
            cv2.LUT(labels[0], lookup[channel], dst=out[0, channel])
        return out

    return call


# --- maskige_decode -------------------------------------------------------------------------------------------------


def _official_decode(inputs: Inputs) -> Callable[[], Any]:
    palette = inputs.palette.float()
    return lambda: official.decode(inputs.maskige.float(), palette)


def _compiled_decode(inputs: Inputs) -> Callable[[], Any]:
    return compiled(lambda image, palette: official.decode(image.float(), palette), inputs.maskige, inputs.palette)


def _rows(maskige: Tensor) -> Tensor:
    """(N, 3) float32, the layout that libraries for vectors take: a transposition of the planes."""
    return maskige.float().reshape(3, -1).t().contiguous()


def _affine_decode(inputs: Inputs) -> Callable[[], Any]:
    """argmin of |p|^2 / 2 - <x, p> over all colours."""
    palette = inputs.palette.float()
    half = palette.square().sum(1) / 2
    return lambda: torch.addmm(half, _rows(inputs.maskige), palette.t(), alpha=-1).argmin(1).view(1, *inputs.size)


def _faiss_decode(inputs: Inputs) -> Callable[[], Any]:
    import faiss

    index = faiss.IndexFlatL2(3)
    index.add(inputs.palette.float().numpy())
    return lambda: index.search(_rows(inputs.maskige).numpy(), 1)[1].reshape(1, *inputs.size)


def _sklearn_decode(inputs: Inputs) -> Callable[[], Any]:
    from sklearn.metrics import pairwise_distances_argmin

    palette = inputs.palette.float().numpy()
    return lambda: pairwise_distances_argmin(_rows(inputs.maskige).numpy(), palette).reshape(1, *inputs.size)


PROVIDERS = {
    "maskige_encode": [
        ONE_COPY,
        Provider(OFFICIAL, _official_encode, studies=SWEEPS, cannot=only("float32")),
        Provider(EAGER, lambda i: partial(_gather, i.labels, _planes(i)), studies=(*SWEEPS, "overhead")),
        Provider(COMPILED, lambda i: compiled(_gather, i.labels, _planes(i)), studies=SWEEPS),
        Provider("OpenCV LUT", _opencv_encode, "opencv", CPU, ("table", "threads"), cannot=no_bfloat16),
        SMALL_OP,
        *ours("maskige_encode", lambda i: ((i.labels, i.palette), {"dtype": i.dtype})),
    ],
    "maskige_decode": [
        ONE_COPY,
        # the differences, then their squares
        Provider(OFFICIAL, _official_decode, studies=SWEEPS, cannot=too_large(lambda case: 6 * scores_bytes(case))),
        Provider(
            f"{EAGER}, addmm + argmin", _affine_decode, studies=("table", "overhead"), cannot=too_large(scores_bytes)
        ),
        Provider(COMPILED, _compiled_decode, studies=SWEEPS),
        Provider("faiss", _faiss_decode, "faiss", CPU, ("table", "pixels", "classes", "threads")),
        Provider("scikit-learn", _sklearn_decode, "scikit-learn", CPU),
        SMALL_OP,
        *ours("maskige_decode", lambda i: ((i.maskige, i.palette), {})),
    ],
}
