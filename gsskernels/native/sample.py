"""linear_sample in C++, see src/sample.cpp, with the noise of the reference, which also draws for float64 operands."""

import torch
from torch import Tensor

from gsskernels.native import library
from gsskernels.native.affine_argmax import MOST_FEATURES, operands
from gsskernels.reference import codebook as reference


def linear_sample(x: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, seed: int, dim: int) -> Tensor:
    if x.dtype is torch.float64 or weight.shape[1] > MOST_FEATURES:
        return reference.linear_sample(x, weight, bias, temperature, seed, dim)
    x, shape, arguments = operands(x, weight, bias, dim)
    out = torch.empty(shape, dtype=torch.int64)
    status = library.functions.linear_sample(
        *arguments, library.DTYPES[x.dtype], temperature, seed, torch.get_num_threads(), out.data_ptr()
    )
    if status:
        library.check(status)
    return out
