"""Counts on the CPU: the arguments of src/confusion.cpp and src/statistics.cpp."""

import math

import torch
from torch import Tensor

from gsskernels.native import library


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    matrix = torch.zeros((num_classes, num_classes), dtype=torch.int64)
    if prediction.is_contiguous() and target.is_contiguous():
        shape: tuple[int, ...] = (1, 1, prediction.numel())
        prediction_strides: tuple[int, ...] = (0, 0, 1)
        target_strides: tuple[int, ...] = prediction_strides
    else:
        prediction, target = _as_maps(prediction), _as_maps(target)
        shape, prediction_strides, target_strides = prediction.shape, prediction.stride(), target.stride()
    if prediction.numel() == 0:
        return matrix
    status = library.functions.confusion_matrix(
        prediction.data_ptr(),
        library.DTYPES[prediction.dtype],
        *prediction_strides,
        target.data_ptr(),
        library.DTYPES[target.dtype],
        *target_strides,
        *shape,
        num_classes,
        min(max(ignore_index, -1), num_classes),
        matrix.data_ptr(),
        torch.get_num_threads(),
    )
    if status:
        library.check(status)
    return matrix


def _as_maps(labels: Tensor) -> Tensor:
    """Labels as (images, height, width): a view, or a copy if no view of three dimensions exists."""
    if labels.dim() < 3:
        return labels[(None,) * (3 - labels.dim())]
    return labels if labels.dim() == 3 else labels.reshape(-1, *labels.shape[-2:])


def code_statistics(x: Tensor, codes: Tensor, num_codes: int, dim: int) -> tuple[Tensor, Tensor]:
    features = x.shape[dim]
    counts = torch.zeros(num_codes, dtype=torch.int64)
    sums = torch.empty((num_codes, features), dtype=torch.float64 if x.dtype is torch.float64 else torch.float32)
    if codes.numel() == 0:
        return counts, sums.zero_()
    # A view, unless the dimensions before or after `dim` cannot be merged.
    rows = x.reshape(math.prod(x.shape[:dim]), features, math.prod(x.shape[dim + 1 :]))
    codes = codes.contiguous()
    status = library.functions.code_statistics(
        rows.data_ptr(),
        library.DTYPES[x.dtype],
        *rows.shape,
        *rows.stride(),
        codes.data_ptr(),
        library.DTYPES[codes.dtype],
        num_codes,
        counts.data_ptr(),
        sums.data_ptr(),
        torch.get_num_threads(),
    )
    if status:
        library.check(status)
    return counts, sums
