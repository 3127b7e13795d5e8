"""nearest_code and code_statistics: a vector quantizer's lookup, and the sums its codebook is updated with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    all_of,
    compiled,
    copy_of_the_same_bytes,
    matrix_product,
    no_bfloat16,
    ours,
    small_torch_op,
    too_large,
)


def _differences(inputs: Inputs) -> Callable[[], Any]:
    def call() -> Tensor:
        return (inputs.x[:, None] - inputs.table).square().sum(2).argmin(1)

    return call


def _affine(x: Tensor, codes: Tensor, half: Tensor) -> Tensor:
    return torch.addmm(half, x, codes.t(), alpha=-1).argmin(1)


def _half_norms(codes: Tensor) -> Tensor:
    return (codes.float().square().sum(1) / 2).to(codes.dtype)


def _eager(inputs: Inputs) -> Callable[[], Any]:
    return partial(_affine, inputs.x, inputs.table, _half_norms(inputs.table))


def _compiled(inputs: Inputs) -> Callable[[], Any]:
    return compiled(_affine, inputs.x, inputs.table, _half_norms(inputs.table))


def _faiss(inputs: Inputs) -> Callable[[], Any]:
    import faiss

    index = faiss.IndexFlatL2(inputs.features)
    index.add(inputs.table.numpy())
    x = inputs.x.numpy()
    return lambda: index.search(x, 1)[1][:, 0]


def _sklearn(inputs: Inputs) -> Callable[[], Any]:
    from sklearn.metrics import pairwise_distances_argmin

    return partial(pairwise_distances_argmin, inputs.x.numpy(), inputs.table.numpy())


def _tree(inputs: Inputs) -> Callable[[], Any]:
    from scipy.spatial import cKDTree

    tree, x, workers = cKDTree(inputs.table.numpy()), inputs.x.numpy(), torch.get_num_threads()
    return lambda: tree.query(x, workers=workers)[1]


def _few_features(case: Case) -> str | None:
    return "a k-d tree visits nearly every code above 16 features" if case.features > 16 else None


def _opencv(inputs: Inputs) -> Callable[[], Any]:
    import cv2

    x, codes = inputs.x.numpy(), inputs.table.numpy()
    return lambda: cv2.batchDistance(x, codes, cv2.CV_32F, normType=cv2.NORM_L2SQR, K=1)[1][:, 0]


def _numpy(inputs: Inputs) -> Callable[[], Any]:
    x, codes = inputs.x.numpy(), inputs.table.numpy()
    half = (codes**2).sum(1) / 2
    return lambda: (half - x @ codes.T).argmin(1)


def _vector_quantize(inputs: Inputs) -> Callable[[], Any]:
    """The whole forward pass in evaluation mode, which also gathers the codes."""
    from vector_quantize_pytorch import VectorQuantize

    quantizer = VectorQuantize(dim=inputs.features, codebook_size=inputs.codes).eval().to(inputs.device)
    quantizer._codebook.embed.data.copy_(inputs.table[None])
    x = inputs.x[None]

    @torch.no_grad()
    def call() -> Tensor:
        return quantizer(x)[1][0]

    return call


SCORES = too_large(lambda case: 2 * scores_bytes(case))


def _one_hot(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.code_statistics(inputs.x, inputs.target, inputs.codes)


def _index_add(x: Tensor, ids: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    counts = ids.new_zeros(num_codes).index_add(0, ids, torch.ones_like(ids))
    return counts, x.new_zeros(num_codes, x.shape[1]).index_add(0, ids, x)


def _eager_statistics(inputs: Inputs) -> Callable[[], Any]:
    return partial(_index_add, inputs.x, inputs.target, inputs.codes)


def _compiled_statistics(inputs: Inputs) -> Callable[[], Any]:
    codes = inputs.codes
    return compiled(lambda x, ids: _index_add(x, ids, codes), inputs.x, inputs.target)


def _numpy_statistics(inputs: Inputs) -> Callable[[], Any]:
    x, ids = inputs.x.numpy(), inputs.target.numpy()

    def call() -> tuple[np.ndarray, np.ndarray]:
        sums = np.zeros((inputs.codes, inputs.features), np.float32)
        np.add.at(sums, ids, x)
        return np.bincount(ids, minlength=inputs.codes), sums

    return call


def _sparse_statistics(inputs: Inputs) -> Callable[[], Any]:
    """The one-hot matrix, stored sparsely, times x."""
    from scipy.sparse import csr_matrix

    x, ids = inputs.x.numpy(), inputs.target.numpy()
    ones, ends = np.ones(len(ids), np.float32), np.arange(len(ids) + 1)

    def call() -> tuple[np.ndarray, np.ndarray]:
        chosen = csr_matrix((ones, ids, ends), shape=(len(ids), inputs.codes))
        return np.bincount(ids, minlength=inputs.codes), chosen.T @ x

    return call


PROVIDERS = {
    "nearest_code": [
        matrix_product(),
        Provider("materialised differences", _differences, studies=("table", "rows", "features"),
                 cannot=too_large(lambda case: 2 * case.features * scores_bytes(case))),
        Provider(OFFICIAL + ", cdist + argmin", lambda i: partial(official.nearest_code, i.x, i.table),
                 studies=EVERYWHERE, cannot=all_of(no_bfloat16, SCORES)),
        Provider("eager PyTorch, addmm + argmin", _eager, studies=(*EVERYWHERE, "overhead"), cannot=SCORES),
        Provider(COMPILED, _compiled, studies=("table", "threads"), cannot=SCORES),
        Provider(FAISS, _faiss, "faiss", studies=EVERYWHERE, cannot=no_bfloat16),
        Provider("scikit-learn", _sklearn, "scikit-learn", cannot=no_bfloat16),
        Provider("scipy cKDTree", _tree, "scipy", studies=("table", "features"),
                 cannot=all_of(no_bfloat16, _few_features)),
        Provider("OpenCV batchDistance", _opencv, "opencv", cannot=no_bfloat16),
        Provider("numpy", _numpy, "numpy", cannot=all_of(no_bfloat16, SCORES)),
        Provider("vector-quantize-pytorch", _vector_quantize, "vector-quantize-pytorch",
                 cannot=all_of(no_bfloat16, SCORES)),
        small_torch_op(),
        *ours("nearest_code", lambda i: ((i.x, i.table), {})),
    ],
    "code_statistics": [
        copy_of_the_same_bytes(),
        Provider("one-hot product, as vector-quantize-pytorch", _one_hot, cannot=too_large(scores_bytes)),
        Provider("eager PyTorch, index_add", _eager_statistics, studies=("table", "overhead")),
        Provider(COMPILED, _compiled_statistics),
        Provider("numpy add.at", _numpy_statistics, "numpy"),
        Provider("scipy sparse product", _sparse_statistics, "scipy"),
        small_torch_op(),
        *ours("code_statistics", lambda i: ((i.x, i.target, i.codes), {})),
    ],
}  # fmt: skip
