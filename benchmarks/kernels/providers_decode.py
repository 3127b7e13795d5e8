"""maskige_decode: the nearest palette colour of every pixel of a planar image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels import official
from benchmarks.kernels.cases import Case, scores_bytes
from benchmarks.kernels.providers import (
    COMPILED,
    EVERYWHERE,
    FAISS,
    OFFICIAL,
    Inputs,
    Provider,
    compiled,
    copy_of_the_same_bytes,
    ours,
    small_torch_op,
    too_large,
)


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (inputs.maskige, inputs.palette), {}


def _differences(case: Case) -> float:
    return 6 * scores_bytes(case)  # the differences, then their squares


def _official(inputs: Inputs) -> Callable[[], Any]:
    palette = inputs.palette.float()
    return lambda: official.decode(inputs.maskige.float(), palette)


def _compiled(inputs: Inputs) -> Callable[[], Any]:
    return compiled(lambda maskige, palette: official.decode(maskige.float(), palette),
                    inputs.maskige, inputs.palette.float())  # fmt: skip


def _rows(maskige: Tensor) -> Tensor:
    """(N, 3) float32, what libraries for vectors want: a transposition of the planes."""
    return maskige.float().reshape(3, -1).t().contiguous()


def _product(inputs: Inputs) -> Callable[[], Any]:
    """|p|^2 / 2 - <x, p>, all of them, and the argmin."""
    palette = inputs.palette.float()
    half = palette.square().sum(1) / 2

    def call() -> Tensor:
        return torch.addmm(half, _rows(inputs.maskige), palette.t(), alpha=-1).argmin(1).view(1, *inputs.size)

    return call


def _faiss(inputs: Inputs) -> Callable[[], Any]:
    import faiss

    index = faiss.IndexFlatL2(3)
    index.add(inputs.palette.float().numpy())
    return lambda: index.search(_rows(inputs.maskige).numpy(), 1)[1].reshape(1, *inputs.size)


def _sklearn(inputs: Inputs) -> Callable[[], Any]:
    from sklearn.metrics import pairwise_distances_argmin

    palette = inputs.palette.float().numpy()
    return lambda: pairwise_distances_argmin(_rows(inputs.maskige).numpy(), palette).reshape(1, *inputs.size)


def _tree(inputs: Inputs) -> Callable[[], Any]:
    from scipy.spatial import cKDTree

    tree, workers = cKDTree(inputs.palette.numpy()), torch.get_num_threads()
    return lambda: tree.query(_rows(inputs.maskige).numpy(), workers=workers)[1].reshape(1, *inputs.size)


def _opencv(inputs: Inputs) -> Callable[[], Any]:
    import cv2

    palette = inputs.palette.float().numpy()

    def call() -> np.ndarray:
        rows = _rows(inputs.maskige).numpy()
        return cv2.batchDistance(rows, palette, cv2.CV_32F, normType=cv2.NORM_L2SQR, K=1)[1].reshape(1, *inputs.size)

    return call


def _numpy(inputs: Inputs) -> Callable[[], Any]:
    """One class at a time with the best so far, so that the planes stay few."""
    palette = inputs.palette.float().numpy()

    def call() -> np.ndarray:
        red, green, blue = inputs.maskige[0].float().numpy()
        best = np.full(red.shape, np.inf, np.float32)
        labels = np.zeros(red.shape, np.uint8 if len(palette) <= 255 else np.int32)
        for k, (r, g, b) in enumerate(palette):
            distance = (red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2
            nearer = distance < best
            labels[nearer] = k
            np.minimum(best, distance, out=best)
        return labels[None]

    return call


PROVIDERS = {
    "maskige_decode": [
        copy_of_the_same_bytes(),
        Provider(OFFICIAL, _official, studies=EVERYWHERE, cannot=too_large(_differences)),
        Provider("eager PyTorch, addmm + argmin", _product, studies=("table", "overhead"),
                 cannot=too_large(scores_bytes)),
        Provider(COMPILED, _compiled, studies=EVERYWHERE),
        Provider(FAISS, _faiss, "faiss", studies=("table", "pixels", "classes", "threads")),
        Provider("scikit-learn", _sklearn, "scikit-learn"),
        Provider("scipy cKDTree", _tree, "scipy", studies=("table", "classes")),
        Provider("OpenCV batchDistance", _opencv, "opencv"),
        Provider("numpy", _numpy, "numpy"),
        small_torch_op(),
        *ours("maskige_decode", _arguments),
    ]
}  # fmt: skip
