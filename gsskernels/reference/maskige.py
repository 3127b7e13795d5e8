"""Maskige operations in plain PyTorch. Temporary memory is a few planes of the output for any number of classes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def maskige_encode(
    labels: Tensor,
    palette: Tensor,
    scale: float,
    shift: float,
    ignore_index: int,
    ignore_color: tuple[float, ...],
    dtype: torch.dtype,
) -> Tensor:
    num_classes = palette.shape[0]
    # Fill kernels instead of torch.tensor(ignore_color): a copy from the host cannot be captured in a CUDA graph.
    ignored = torch.cat([torch.full((1, 1), c, dtype=torch.float32, device=palette.device) for c in ignore_color], 1)
    table = torch.cat([palette.float(), ignored]) * scale + shift
    if dtype is torch.uint8:
        table = table.round().clamp(0, 255)
    table = table.to(dtype)
    row = _class_or(labels, num_classes, ignore_index, num_classes).long()
    return torch.stack([table[:, channel][row] for channel in range(3)], dim=-3)


def maskige_decode(
    maskige: Tensor, palette: Tensor, size: Size | None, resize: str, margin: bool
) -> tuple[Tensor, Tensor | None]:
    if size is not None and resize == "rgb":
        maskige = _bilinear(maskige.float(), size)
    labels, distance = _nearest_color(maskige, palette.float(), margin)
    if size is not None and resize == "vote":
        labels = _vote(labels, size)
        if distance is not None:
            # With one class the margin is +inf everywhere, and 0 * inf would make the bilinear sum NaN.
            distance = _bilinear(distance, size) if palette.shape[0] > 1 else _one_class_margin(labels)
    return labels, distance


def maskige_evaluate(maskige: Tensor, palette: Tensor, target: Tensor, ignore_index: int, resize: str) -> Tensor:
    same_size = target.shape[-2:] == maskige.shape[-2:]
    size = None if same_size else (target.shape[-2], target.shape[-1])
    labels, _ = maskige_decode(maskige, palette, size, resize, margin=False)
    return confusion_matrix(labels, target, palette.shape[0], ignore_index)


def label_resize(labels: Tensor, size: Size, num_classes: int, ignore_index: int) -> Tensor:
    voted = _vote(_class_or(labels, num_classes, ignore_index, num_classes), size)
    return torch.where(voted == num_classes, ignore_index, voted).to(labels.dtype)


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    rows = _class_or(target, num_classes, ignore_index, -1).long()
    columns = _class_or(prediction, num_classes, None, -1).long()
    cell = torch.where((rows < 0) | (columns < 0), num_classes**2, rows * num_classes + columns).flatten()
    counts = torch.zeros(num_classes**2 + 1, dtype=torch.int64, device=cell.device)  # the last cell is dropped
    counts.scatter_add_(0, cell, torch.ones_like(cell))
    return counts[:-1].view(num_classes, num_classes)


def _class_or(labels: Tensor, num_classes: int, ignore_index: int | None, other: int) -> Tensor:
    """Labels as int32 (or int64), with `other` in place of the ignore index and of labels outside 0..K-1."""
    wide = labels if labels.dtype is torch.int64 else labels.int()
    valid = (wide >= 0) & (wide < num_classes)
    if ignore_index is not None and 0 <= ignore_index < num_classes:  # other ids are invalid already
        valid &= wide != ignore_index
    return torch.where(valid, wide, other)


def _nearest_color(maskige: Tensor, palette: Tensor, margin: bool) -> tuple[Tensor, Tensor | None]:
    """Index of the nearest colour, and the margin if asked for. Makes one pass over the image per class."""
    red, green, blue = maskige.float().unbind(-3)
    num_classes = palette.shape[0]
    first = torch.zeros(red.shape, dtype=torch.uint8 if num_classes <= 255 else torch.int32, device=red.device)
    best = torch.full_like(red, math.inf)
    second, second_best = first, best
    largest = torch.finfo(torch.float32).max
    for k in range(num_classes):
        d = (red - palette[k, 0]) ** 2 + (green - palette[k, 1]) ** 2 + (blue - palette[k, 2]) ** 2
        # An infinite distance stays below the initial +inf, so that it beats NaN, which loses every comparison.
        d = d.clamp(max=largest)
        wins = d < best
        if margin:
            runs_up = ~wins & (d < second_best)
            second = torch.where(wins, first, torch.where(runs_up, k, second))
            second_best = torch.where(wins, best, torch.where(runs_up, d, second_best))
        first = torch.where(wins, k, first)
        best = torch.where(wins, d, best)
    if not margin:
        return first, None
    if num_classes == 1:
        return first, _one_class_margin(first)
    distance = _wall_distance((red, green, blue), palette, first.long(), second.long())
    return first, torch.where(best < largest, distance, 0.0)


def _wall_distance(pixel: tuple[Tensor, ...], palette: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Distance of a pixel from the plane halfway between its two nearest colours."""
    along, length = torch.zeros_like(pixel[0]), torch.zeros_like(pixel[0])
    for channel, x in enumerate(pixel):
        p1, p2 = palette[:, channel][first], palette[:, channel][second]
        along = along + (p1 - p2) * (x - (p1 + p2) * 0.5)
        length = length + (p1 - p2) ** 2
    return torch.where(length > 0, along / length.sqrt(), 0.0).clamp(min=0.0)


def _one_class_margin(labels: Tensor) -> Tensor:
    return torch.full(labels.shape, math.inf, dtype=torch.float32, device=labels.device)


def _bilinear(planes: Tensor, size: Size) -> Tensor:
    *leading, height, width = planes.shape
    stack = planes.reshape(math.prod(leading), 1, height, width)
    return F.interpolate(stack, size, mode="bilinear", align_corners=False).reshape(*leading, *size)


def _vote(labels: Tensor, size: Size) -> Tensor:
    """The class with the largest bilinear weight among the four neighbours of every output pixel."""
    top, bottom, h0, h1 = _axis(labels.shape[-2], size[0], labels.device)
    left, right, w0, w1 = _axis(labels.shape[-1], size[1], labels.device)
    h0, h1 = h0[:, None], h1[:, None]
    upper, lower = labels.index_select(-2, top), labels.index_select(-2, bottom)
    a, b = upper.index_select(-1, left), upper.index_select(-1, right)
    c, d = lower.index_select(-1, left), lower.index_select(-1, right)

    def weight(k: Tensor) -> Tensor:
        return h0 * (w0 * (a == k) + w1 * (b == k)) + h1 * (w0 * (c == k) + w1 * (d == k))

    winner, most = a, weight(a)
    for k in (b, c, d):
        votes = weight(k)
        better = (votes > most) | ((votes == most) & (k < winner))
        winner, most = torch.where(better, k, winner), torch.where(better, votes, most)
    return winner


def _axis(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both neighbours and their float32 weights for every output of a bilinear resize from n to m."""
    scale = torch.full((), n / m, dtype=torch.float32, device=device)
    # The product is exact in float64, so the coordinate is rounded to float32 once, as a fused multiply-add rounds it.
    source = (torch.arange(m, device=device, dtype=torch.float64) + 0.5) * scale.double() - 0.5
    source = source.float().clamp(min=0)
    near = source.long().clamp(max=n - 1)
    far = (near + 1).clamp(max=n - 1)
    w1 = (source - near).clamp(0, 1)
    return near, far, 1 - w1, w1
