"""Maskiges (section 3 of arXiv 2303.11316): label maps painted as images, read back from images, and scored.

Every function takes tensors on any device and never synchronises with the host. In shapes, `*` stands for any number of
leading dimensions. Colours are in the units of the palette, usually 0..255.
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
        scale, shift: applied to every colour, including `ignore_color`; 1/255 and 0 give images in 0..1.
        ignore_index: the label of unlabelled pixels. It is ignored even if it is also a class id.
        ignore_color: three numbers, the colour of `ignore_index` and of every label outside 0..K-1, including negative
            ones.
        dtype: uint8, float16, bfloat16 or float32. The affine map is computed in float32 and rounded once; uint8
            rounds to the nearest integer (halves to even) and clamps to 0..255.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        (*, 3, H, W) contiguous tensor of `dtype`. Differentiable with respect to a floating palette.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value. More classes than
            the dtype of the labels can hold are a ValueError.

    Example:
        >>> palette = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255]])
        >>> maskige_encode(torch.tensor([[0, 1, 2, 255]]), palette, ignore_color=(9, 9, 9), dtype=torch.uint8)
        tensor([[[  0, 255,   0,   9]],
        <BLANKLINE>
                [[  0,   0,   0,   9]],
        <BLANKLINE>
                [[  0,   0, 255,   9]]], dtype=torch.uint8)
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
    """Reads a label map back: the class of the nearest palette colour of every pixel, the map X^-1 of the paper.

    Distances are ``(r - pr)^2 + (g - pg)^2 + (b - pb)^2`` evaluated in float32 in this order, after pixels and palette
    are converted to float32. This is exact, including ties, for integer colours at most 2364 apart (squared distances
    below 2^24), so uint8 images with palettes in 0..255 decode bit-exactly.

    Args:
        maskige: (*, 3, H, W) uint8, float16, bfloat16, float32, or float64 (rounded to float32), any strides.
        palette: (K, 3) finite colours, integer or floating.
        size: (H', W') of the result, or None to keep (H, W).
        resize: the way to `size`. "vote" decodes first and then resizes the class map with the result of one-hot planes
            -> ``F.interpolate(mode="bilinear", align_corners=False)`` -> argmax, but without the planes (see
            `label_resize` for the exact arithmetic). "rgb" resizes the colours bilinearly and decodes the result.
        margin: also return the distance, in palette units, from the pixel to the plane halfway between the nearest
            colour p1 and the second nearest p2: ``(d2^2 - d1^2) / (2 |p1 - p2|)``, evaluated without cancellation as
            ``<p1 - p2, x - (p1 + p2) / 2> / |p1 - p2|``. It is 0 where the two colours are equal and +inf for K = 1.
            "vote" resizes the margin map bilinearly; "rgb" gives the margin of the resized colours.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Ties go to the lowest class, for the nearest and for the second nearest colour. A NaN distance never wins. A pixel
    with a NaN channel has only NaN distances and gives class 0. Pixels whose distances are infinite or NaN have the
    margin 0 (if K > 1).

    Returns:
        labels (*, H', W'), uint8 for K <= 255 and int32 above; with ``margin=True`` the pair (labels, margin), margin
        float32. Neither carries a gradient.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> palette = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255]])
        >>> image = torch.tensor([[[250, 3, 90, 120]], [[0, 0, 0, 0]], [[10, 240, 0, 130]]], dtype=torch.uint8)
        >>> maskige_decode(image, palette, margin=True)
        (tensor([[1, 2, 0, 2]], dtype=torch.uint8), tensor([[122.5000, 112.5000,  37.5000,   2.5000]]))
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
        ignore_index: this target label is not counted. Targets outside 0..K-1 are not counted either.
        resize: "vote" or "rgb", as in `maskige_decode`.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        (K, K) int64. Rows are targets and columns are predictions.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> palette = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255]])
        >>> image = torch.tensor([[[250, 3, 90, 120]], [[0, 0, 0, 0]], [[10, 240, 0, 130]]], dtype=torch.uint8)
        >>> maskige_evaluate(image, palette, torch.tensor([[1, 1, 0, 255]], dtype=torch.uint8))
        tensor([[1, 0, 0],
                [0, 1, 1],
                [0, 0, 0]])
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
    (float32 n/m, rounded once after the subtraction, negative values set to 0), the neighbours ``floor(s)`` and the
    next one inside the map, and the weights ``w1 = s - floor(s)`` and ``w0 = 1 - w1``. A class scores
    ``h0 * (w0*[a] + w1*[b]) + h1 * (w0*[c] + w1*[d])`` in float32. On processors with fused multiply-add
    `torch.nn.functional.interpolate` rounds in the same way, except where its compiler fused more operations. The two
    can therefore differ only where the real-valued vote is tied within float32 rounding: about one pixel in a million
    on random labels, none at factors that are powers of two.

    Args:
        labels: (*, H, W) uint8, int8, int16, int32 or int64.
        size: (H', W').
        num_classes: K. Labels equal to `ignore_index` or outside 0..K-1 vote together as one more class, which loses
            ties to all others.
        ignore_index: the label written where that class wins; must fit the dtype of `labels`.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        (*, H', W') in the dtype of `labels`. Ties go to the lowest class id.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> label_resize(torch.tensor([[0, 1], [1, 1]]), (4, 4), num_classes=2)
        tensor([[0, 0, 1, 1],
                [0, 0, 1, 1],
                [1, 1, 1, 1],
                [1, 1, 1, 1]])
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
    """Counts how often each target class was predicted as each class. Counts are integers, so it is deterministic.

    Args:
        prediction: integer class ids of any shape; ids outside 0..K-1 are not counted.
        target: integer class ids of the same shape; `ignore_index` and ids outside 0..K-1 are not counted.
        num_classes: K.
        ignore_index: this target label is not counted, even if it is also a class id.
        backend: None for the fastest one available, or "reference", "native", "triton".

    Returns:
        (K, K) int64. Rows are targets and columns are predictions.

    Raises:
        TypeError, ValueError: the message names the argument, the expected value and the given value.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 255]), num_classes=2)
        tensor([[1, 0],
                [0, 1]])
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
