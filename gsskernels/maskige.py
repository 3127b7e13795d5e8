"""Maskiges: label maps written as images (encode), read back (decode) and scored, section 3 of arXiv 2303.11316.

Every function takes tensors on any device, never synchronises with the host and never looks at values to choose its
path. Shapes are written with `*` for any number of leading dimensions. Colours are in the units of the palette,
usually 0..255.
"""

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from gsskernels import _check, _ops


def maskige_encode(
    labels: Tensor,
    palette: Tensor,
    *,
    scale: float = 1.0,
    shift: float = 0.0,
    ignore_index: int = 255,
    ignore_color: Sequence[float] = (0, 0, 0),
    dtype: torch.dtype = torch.float32,
    backend: str | None = None,
) -> Tensor:
    """Paints a label map: ``palette[label] * scale + shift``, the map X of the paper.

    Args:
        labels: (*, H, W) uint8, int8, int16, int32 or int64 class ids.
        palette: (K, 3) colours, integer or floating.
        scale, shift: applied to every colour, the ignore colour included; 1/255 and 0 give images in 0..1.
        ignore_index: the label of unlabelled pixels. It wins even where it is a class id.
        ignore_color: three numbers, the colour of `ignore_index` and of every label outside 0..K-1, negative ones
            included.
        dtype: uint8, float16, bfloat16 or float32. The affine map is computed in float32 and rounded once; uint8
            rounds to the nearest integer (halves to even) and clamps to 0..255.
        backend: None for the fastest available, or "reference", "native", "triton".

    Returns:
        (*, 3, H, W) contiguous tensor of `dtype`. Differentiable with respect to a floating palette.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came. K larger than the label dtype can
            hold is a ValueError.
    """
    num_classes = _check.palette(palette)
    _check.label_map("labels", labels, num_classes)
    _check.same_device("palette", palette, "labels", labels)
    _check.integer("ignore_index", ignore_index)
    if not isinstance(ignore_color, (tuple, list)) or len(ignore_color) != 3:
        raise ValueError(f"ignore_color must be three numbers, got {ignore_color!r}")
    if dtype not in (torch.uint8, torch.float16, torch.bfloat16, torch.float32):
        raise TypeError(f"dtype must be torch.uint8, float16, bfloat16 or float32, got {dtype}")
    _check.backend(backend)
    with_gradient = palette.requires_grad and torch.is_grad_enabled() and dtype is not torch.uint8
    encode = _ops.maskige_encode_with_gradient if with_gradient else _ops.maskige_encode
    return encode(labels, palette, scale, shift, ignore_index, ignore_color, dtype, backend)


@overload
def maskige_decode(
    maskige: Tensor,
    palette: Tensor,
    *,
    size: Sequence[int] | None = None,
    resize: str = "vote",
    margin: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...


@overload
def maskige_decode(
    maskige: Tensor,
    palette: Tensor,
    *,
    size: Sequence[int] | None = None,
    resize: str = "vote",
    margin: Literal[True],
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def maskige_decode(
    maskige: Tensor,
    palette: Tensor,
    *,
    size: Sequence[int] | None = None,
    resize: str = "vote",
    margin: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Reads a label map back from its colours: the nearest palette colour of every pixel, the map X^-1 of the paper.

    Distances are ``(r - pr)^2 + (g - pg)^2 + (b - pb)^2`` evaluated in float32 in that order, after converting pixels
    and palette to float32. That is exact, ties included, for integer colours no further than 2364 apart (squared
    distances below 2^24), so uint8 images with palettes in 0..255 decode bit-exactly.

    Args:
        maskige: (*, 3, H, W) uint8, float16, bfloat16, float32, or float64 (rounded to float32), any strides.
        palette: (K, 3) finite colours, integer or floating.
        size: (H', W') of the result, or None to keep (H, W).
        resize: how `size` is reached. "vote" decodes first and resizes the class map as one-hot planes ->
            ``F.interpolate(mode="bilinear", align_corners=False)`` -> argmax would, without the planes (see
            `label_resize` for the exact arithmetic). "rgb" resizes the colours bilinearly and decodes those.
        margin: also return the distance, in palette units, from the pixel to the wall between the winning colour p1
            and the runner-up p2: ``(d2^2 - d1^2) / (2 |p1 - p2|)``, evaluated without cancellation as
            ``<p1 - p2, x - (p1 + p2) / 2> / |p1 - p2|``. 0 where the two colours coincide, +inf for K = 1. With "vote"
            the margin map is resized bilinearly, with "rgb" it is the margin of the resized colours.
        backend: None for the fastest available, or "reference", "native", "triton".

    Ties go to the lowest class, for the winner and for the runner-up. A NaN distance never wins; a pixel with a NaN
    channel has nothing else and gives class 0. Pixels whose distances are infinite or NaN have margin 0 (if K > 1).

    Returns:
        labels (*, H', W'), uint8 for K <= 255 and int32 above; with ``margin=True`` the pair (labels, margin), margin
        float32. Neither carries a gradient.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.
    """
    _check.palette(palette)
    _check.image("maskige", maskige)
    _check.same_device("palette", palette, "maskige", maskige)
    _check.choice("resize", resize, ("vote", "rgb"))
    out_size = None if size is None else _check.size(size)
    if out_size is not None:
        _check.resizable("maskige", maskige)
    _check.backend(backend)
    if margin:
        return _ops.maskige_decode_margin(_check.constant(maskige), _check.constant(palette), out_size, resize, backend)
    return _ops.maskige_decode(maskige, palette, out_size, resize, backend)


def maskige_evaluate(
    maskige: Tensor,
    palette: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    resize: str = "vote",
    backend: str | None = None,
) -> Tensor:
    """Confusion matrix of a decoded maskige: `maskige_decode` at the target's size, then `confusion_matrix`.

    Args:
        maskige: (*, 3, H, W) as in `maskige_decode`.
        palette: (K, 3).
        target: (*, H', W') integer class ids, leading dimensions as in `maskige`.
        ignore_index: target label that is not counted; neither are targets outside 0..K-1.
        resize: "vote" or "rgb", as in `maskige_decode`.
        backend: None for the fastest available, or "reference", "native", "triton".

    Returns:
        (K, K) int64, rows are the target and columns the prediction.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.
    """
    num_classes = _check.palette(palette)
    _check.image("maskige", maskige)
    _check.same_device("palette", palette, "maskige", maskige)
    _check.label_map("target", target, num_classes)
    _check.same_device("target", target, "maskige", maskige)
    _check.integer("ignore_index", ignore_index)
    _check.choice("resize", resize, ("vote", "rgb"))
    if target.shape[:-2] != maskige.shape[:-3]:
        raise ValueError(
            f"target must have the leading dimensions of maskige {tuple(maskige.shape)}, got {tuple(target.shape)}"
        )
    if target.shape[-2:] != maskige.shape[-2:]:
        _check.resizable("target", target)
        _check.resizable("maskige", maskige)
    _check.backend(backend)
    return _ops.maskige_evaluate(maskige, palette, target, ignore_index, resize, backend)


def label_resize(
    labels: Tensor, size: Sequence[int], *, num_classes: int, ignore_index: int = 255, backend: str | None = None
) -> Tensor:
    """Resizes a label map by weighted vote: one-hot -> bilinear (align_corners=False) -> argmax, without the planes.

    Only the (at most four) neighbours of a bilinear sample can win, so the vote compares the float32 weights of their
    classes. Along an axis of n inputs and m outputs, output i reads the source coordinate ``s = n/m * (i + 0.5) - 0.5``
    (float32 n/m, rounded once after the subtraction, negative values set to 0), neighbours ``floor(s)`` and the next
    one inside the map, weights ``w1 = s - floor(s)`` and ``w0 = 1 - w1``. A class scores
    ``h0 * (w0*[a] + w1*[b]) + h1 * (w0*[c] + w1*[d])`` in float32. `torch.nn.functional.interpolate` rounds alike on
    processors with fused multiply-add, up to what its compiler fused besides. The two can therefore differ only where
    the real-valued vote is tied to within float32 rounding: about one pixel in a million on random labels, none at
    factors that are powers of two.

    Args:
        labels: (*, H, W) uint8, int8, int16, int32 or int64.
        size: (H', W').
        num_classes: K. Labels equal to `ignore_index` or outside 0..K-1 vote together as one class ordered after all
            others.
        ignore_index: written where that class wins; must fit the dtype of `labels`.
        backend: None for the fastest available, or "reference", "native", "triton".

    Returns:
        (*, H', W') in the dtype of `labels`. Ties go to the lowest class id.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.
    """
    _check.positive("num_classes", num_classes)
    _check.label_map("labels", labels, num_classes)
    out_size = _check.size(size)
    _check.resizable("labels", labels)
    _check.integer("ignore_index", ignore_index)
    held = torch.iinfo(labels.dtype)
    if not held.min <= ignore_index <= held.max:
        raise ValueError(f"ignore_index must fit the dtype of labels ({labels.dtype}), got {ignore_index}")
    _check.backend(backend)
    return _ops.label_resize(labels, out_size, num_classes, ignore_index, backend)


def confusion_matrix(
    prediction: Tensor, target: Tensor, num_classes: int, *, ignore_index: int = 255, backend: str | None = None
) -> Tensor:
    """Counts how often each target class was predicted as each class. Deterministic: integer counts only.

    Args:
        prediction: integer class ids of any shape; those outside 0..K-1 are not counted.
        target: integer class ids of the same shape; `ignore_index` and ids outside 0..K-1 are not counted.
        num_classes: K.
        ignore_index: target label that is not counted, even where it is a class id.
        backend: None for the fastest available, or "reference", "native", "triton".

    Returns:
        (K, K) int64, rows are the target and columns the prediction.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.
    """
    _check.positive("num_classes", num_classes)
    _check.labels("prediction", prediction, num_classes)
    _check.labels("target", target, num_classes)
    _check.same_device("target", target, "prediction", prediction)
    _check.integer("ignore_index", ignore_index)
    if prediction.shape != target.shape:
        expected, got = tuple(prediction.shape), tuple(target.shape)
        raise ValueError(f"target must have the shape of prediction {expected}, got {got}")
    _check.backend(backend)
    return _ops.confusion_matrix(prediction, target, num_classes, ignore_index, backend)
