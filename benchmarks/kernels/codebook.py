"""Providers of nearest_code and code_statistics: the lookup of a vector quantizer, and the sums that update it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gsskernels
from benchmarks.kernels import official
from benchmarks.kernels.cases import scores_bytes
from benchmarks.kernels.providers import (
    COMPILED,
    CPU,
    CUDA,
    EAGER,
    OFFICIAL,
    ONE_COPY,
    ONE_PRODUCT,
    OURS,
    SMALL_OP,
    SWEEPS,
    Inputs,
    Provider,
    all_of,
    compiled,
    no_bfloat16,
    only,
    ours,
    too_large,
)

SCORES = too_large(lambda case: 2 * scores_bytes(case))

# --- nearest_code ---------------------------------------------------------------------------------------------------


def _affine(x: Tensor, codes: Tensor, half: Tensor) -> Tensor:
    return torch.addmm(half, x, codes.t(), alpha=-1).argmin(1)


def _operands(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """x, the codes, and half of their squared norms."""
    return inputs.x, inputs.table, (inputs.table.float().square().sum(1) / 2).to(inputs.table.dtype)


def _tf32(inputs: Inputs) -> Callable[[], Any]:
    """Products in TF32, for those who do not need a float32 answer."""
    operands = _operands(inputs)

    def call() -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return _affine(*operands)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    return call


def _faiss(inputs: Inputs) -> Callable[[], Any]:
    import faiss

    index, x = faiss.IndexFlatL2(inputs.features), inputs.x.numpy()
    index.add(inputs.table.numpy())
    return lambda: index.search(x, 1)[1][:, 0]


def _sklearn(inputs: Inputs) -> Callable[[], Any]:
    from sklearn.metrics import pairwise_distances_argmin

    return partial(pairwise_distances_argmin, inputs.x.numpy(), inputs.table.numpy())


def _numpy(inputs: Inputs) -> Callable[[], Any]:
    x, codes, half = (t.numpy() for t in _operands(inputs))
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


def _flash_kmeans(inputs: Inputs) -> Callable[[], Any]:
    """Its assignment step. Where a version takes |x|^2, that is computed beforehand, which flatters it."""
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    x, codes = inputs.x[None], inputs.table[None]
    takes_squares = "x_sq" in inspect.signature(euclid_assign_triton).parameters
    squares = {"x_sq": x.float().square().sum(2)} if takes_squares else {}
    return lambda: euclid_assign_triton(x, codes, **squares)[0]


def _ours_in(precision: str) -> Provider:
    """The Triton backend without certified float32 answers."""

    def build(inputs: Inputs) -> Callable[[], Any]:
        return partial(gsskernels.nearest_code, inputs.x, inputs.table, precision=precision, backend="triton")

    name = f"{OURS['cuda']}, precision {precision}"
    return Provider(name, build, "gsskernels", CUDA, backend="triton", cannot=only("float32"), exact=False)


# --- code_statistics ------------------------------------------------------------------------------------------------


def _one_hot(inputs: Inputs) -> Callable[[], Any]:
    return lambda: official.code_statistics(inputs.x, inputs.target, inputs.codes)


def _index_add(x: Tensor, ids: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    counts = ids.new_zeros(num_codes).index_add(0, ids, torch.ones_like(ids))
    return counts, x.new_zeros(num_codes, x.shape[1]).index_add(0, ids, x)


def _compiled_statistics(inputs: Inputs) -> Callable[[], Any]:
    codes = inputs.codes
    return compiled(lambda x, ids: _index_add(x, ids, codes), inputs.x, inputs.target)


def _sparse_statistics(inputs: Inputs) -> Callable[[], Any]:
    """The one-hot matrix, stored sparsely, times x."""
    from scipy.sparse import csr_matrix

    x, ids = inputs.x.numpy(), inputs.target.numpy()
    ones, ends = np.ones(len(ids), np.float32), np.arange(len(ids) + 1)

    def call() -> tuple[np.ndarray, np.ndarray]:
        chosen = csr_matrix((ones, ids, ends), shape=(len(ids), inputs.codes))
        return np.bincount(ids, minlength=inputs.codes), chosen.T @ x

    return call


FITS = all_of(no_bfloat16, SCORES)
PROVIDERS = {
    "nearest_code": [
        ONE_PRODUCT,
        Provider(
            f"{OFFICIAL}, cdist + argmin",
            lambda i: partial(official.nearest_code, i.x, i.table),
            studies=SWEEPS,
            cannot=FITS,
        ),
        Provider(
            f"{EAGER}, addmm + argmin",
            lambda i: partial(_affine, *_operands(i)),
            studies=(*SWEEPS, "overhead"),
            cannot=SCORES,
        ),
        Provider(f"{EAGER} in TF32, addmm + argmin", _tf32, devices=CUDA, cannot=only("float32"), exact=False),
        Provider(COMPILED, lambda i: compiled(_affine, *_operands(i)), studies=("table", "threads"), cannot=SCORES),
        Provider("faiss", _faiss, "faiss", CPU, SWEEPS, cannot=no_bfloat16),
        Provider("scikit-learn", _sklearn, "scikit-learn", CPU, cannot=no_bfloat16),
        Provider("numpy", _numpy, "numpy", CPU, cannot=FITS),
        Provider("vector-quantize-pytorch", _vector_quantize, "vector-quantize-pytorch", cannot=FITS),
        Provider("flash-kmeans assign", _flash_kmeans, "flash-kmeans", CUDA),
        _ours_in("tf32"),
        _ours_in("bf16"),
        SMALL_OP,
        *ours("nearest_code", lambda i: ((i.x, i.table), {})),
    ],
    "code_statistics": [
        ONE_COPY,
        Provider("one-hot product, as vector-quantize-pytorch", _one_hot, cannot=too_large(scores_bytes)),
        Provider(
            f"{EAGER}, index_add",
            lambda i: partial(_index_add, i.x, i.target, i.codes),
            studies=("table", "overhead"),
        ),
        Provider(COMPILED, _compiled_statistics),
        Provider("scipy sparse product", _sparse_statistics, "scipy", CPU),
        SMALL_OP,
        *ours("code_statistics", lambda i: ((i.x, i.target, i.codes), {})),
    ],
}
