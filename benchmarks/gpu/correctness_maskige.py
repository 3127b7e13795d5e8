"""Every maskige and label-map operation, equal to the reference bit for bit.

Only margins and the "rgb" resize may round differently; a label of "rgb" may differ where float64 sees a tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gsskernels as g
from benchmarks.gpu import judge
from benchmarks.gpu.checks import Absent, Check, Wrong
from benchmarks.gpu.place import Place
from benchmarks.kernels import inputs

IMAGES = ("uint8", "float16", "bfloat16", "float32", "float64")
PAINTED = ("uint8", "float16", "bfloat16", "float32")
LABELS = ("uint8", "int8", "int16", "int32", "int64")
CLASSES = (1, 2, 8, 19, 150, 194, 255, 256, 1000)  # 255 is the last for uint8 labels
LAYOUTS = ("planar", "channels last", "strided", "misaligned", "many images", "no pixels", "one pixel", "expanded")


def checks(place: Place) -> Iterator[Check]:
    counts = (1, 2, 19, 256) if place.dry else CLASSES
    for dtype in IMAGES:
        group = f"maskige_decode/{dtype}"
        for k in counts:
            yield Check(group, f"K = {k}", partial(_decode, place, dtype, k, "dataset"))
        for palette in ("twins", "one colour", "fractions", "lattice", "not finite"):
            yield Check(group, f"{palette}, K = 150", partial(_decode, place, dtype, 12 if place.dry else 150, palette))
        for layout in LAYOUTS:
            for k in (19,) if place.dry else (19, 150):
                yield Check(group, f"{layout}, K = {k}", partial(_decode_layout, place, dtype, layout, k))
        for resize in ("vote", "rgb"):
            for k in counts if dtype == "float32" else (19,):
                yield Check(group, f"{resize}, K = {k}", partial(_resized, place, dtype, k, resize))
        for k in (19,) if place.dry else (19, 150):
            yield Check(f"maskige_evaluate/{dtype}", f"K = {k}", partial(_evaluate, place, dtype, k))
    if not place.dry:
        for dtype in ("uint8", "float32"):
            for k in (19, 150):
                for content in ("scene", "random"):
                    name = f"1024 x 2048, K = {k}, {content}"
                    yield Check(f"maskige_decode/{dtype}", name, partial(_decode_large, place, dtype, k, content))
    for dtype in PAINTED:
        for labels in LABELS:
            yield Check(f"maskige_encode/{dtype}", f"{labels} labels", partial(_encode, place, dtype, labels))
    for labels in LABELS:
        group = f"label maps/{labels}"
        yield Check(group, "label_resize", partial(_label_resize, place, labels))
        for k in (1, 19, 100) if place.dry else (1, 19, 100, 1000):
            if k <= torch.iinfo(getattr(torch, labels)).max + 1:
                yield Check(group, f"confusion_matrix, K = {k}", partial(_confusion, place, labels, k))


# --- Inputs ---------------------------------------------------------------------------------------------------------


def _palette(place: Place, k: int, kind: str) -> Tensor:
    make = torch.Generator().manual_seed(k)
    palette = inputs.palette(k).float()
    if kind == "twins":  # every colour twice: the lower class wins
        palette = palette[: -(-k // 2)].repeat(2, 1)[:k]
    elif kind == "one colour":
        palette = palette[:1].expand(k, 3)
    elif kind == "fractions":
        palette = torch.rand(k, 3, generator=make) * 2 - 1
    elif kind == "lattice":  # pixels at the centres of its cells are tied eight times over
        steps = torch.arange(k)
        palette = torch.stack([steps % 5, steps // 5 % 6, steps // 30], 1).float() * 40
    elif kind == "not finite":
        palette = palette.clone()
        palette[1, 0], palette[2, 1], palette[3] = math.nan, math.inf, -math.inf
    return palette.to(place.device)


SMALL, LARGE = (187, 203), (703, 643)  # two large images are worth candidate cells from 19 classes on


def _image(place: Place, dtype: str, palette: Tensor, size: tuple[int, int] = SMALL) -> Tensor:
    """Bands of everything: colours themselves, midpoints between them, noise around them, anything, far outside, and
    what is not a number."""
    height, width = (11, 14) if place.dry else size
    make = place.generator(len(palette) + height)
    options: dict[str, Any] = {"generator": make, "device": place.device}
    k = len(palette)
    known = torch.where(palette.isfinite(), palette, 0)
    low, extent = known.amin(0), (known.amax(0) - known.amin(0)).clamp(min=1)
    first, second = (known[torch.randint(0, k, (2, height, width), **options)] for _ in range(2))
    uniform = torch.rand(2, height, width, 3, **options)
    bands = [
        first,
        (first + second) / 2,
        first + extent * 0.03 * torch.randn(2, height, width, 3, **options),
        low + extent * uniform,
        low + extent * (uniform * 3 - 1),
        (low + extent * uniform) * torch.tensor([1.0, 1e4, 1e30], device=place.device),
    ]
    at = torch.arange(height, device=place.device) * len(bands) // height
    image = torch.stack(bands)[at, 0, torch.arange(height, device=place.device)]
    image = torch.stack([image, torch.stack(bands)[at.flip(0), 1, torch.arange(height, device=place.device)]])
    if dtype != "uint8":
        image[:, -1, ::7, 0], image[:, -1, 1::7, 1], image[:, -1, 2::7] = math.nan, math.inf, -math.inf
    image = image.permute(0, 3, 1, 2)
    return (image.clamp(0, 255).round() if dtype == "uint8" else image).to(getattr(torch, dtype)).contiguous()


def _labels(place: Place, dtype: str, k: int, shape: tuple[int, ...]) -> Tensor:
    """Runs and noise, with some labels outside 0..K-1."""
    kind = getattr(torch, dtype)
    held = torch.iinfo(kind)
    make = place.generator(k + sum(shape))
    anything = torch.randint(max(held.min, -2), min(held.max, k + 3) + 1, shape, generator=make, device=place.device)
    runs = (torch.arange(math.prod(shape), device=place.device) // 37 % k).view(shape)
    stray = torch.rand(shape, generator=make, device=place.device) < 0.1
    return torch.where(stray, anything, runs).to(kind)


# --- The checks -----------------------------------------------------------------------------------------------------


def _decode(place: Place, dtype: str, k: int, kind: str) -> dict[str, Any]:
    palette = _palette(place, k, kind)
    return _compare_decode(place, _image(place, dtype, palette, LARGE), palette)


def _compare_decode(place: Place, image: Tensor, palette: Tensor, margin: bool = True) -> dict[str, Any]:
    labels = g.maskige_decode(image, palette, backend=place.backend)
    wanted, distance = g.maskige_decode(image, palette, margin=True, backend="reference")
    judge.same(labels, wanted, "labels")
    if not margin:
        return {}
    with_margin, got = g.maskige_decode(image, palette, margin=True, backend=place.backend)
    judge.same(with_margin, wanted, "labels with margins")
    return judge.close(got, distance, 1e-5, 1e-4, "margin")


def _decode_layout(place: Place, dtype: str, layout: str, k: int) -> dict[str, Any]:
    palette = _palette(place, k, "dataset")
    image = _image(place, dtype, palette, SMALL if k == 19 else LARGE)
    height, width = image.shape[-2:]
    if layout == "channels last":
        image = image.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        image = image[:, :, 1::2, ::3]
    elif layout == "misaligned":
        image = torch.cat([image.new_zeros(1), image.flatten()])[1:].view(image.shape)
    elif layout == "many images":
        image = image[:, :, :4, :5].repeat(3, 5, 1, 1).view(3, 2, 5, 3, 4, 5)
    elif layout == "no pixels":
        image = image[:, :, :0]
    elif layout == "one pixel":
        image = image[0, :, :1, :1]
    elif layout == "expanded":
        image = image[:1, :, :1].expand(4, 3, height, width)
    return _compare_decode(place, image, palette)


def _decode_large(place: Place, dtype: str, k: int, content: str) -> dict[str, Any]:
    from benchmarks.kernels.cases import decode

    made = inputs.make(decode(1024, 2048, k, dtype, content=content))
    return _compare_decode(place, made.maskige.to(place.device), made.palette.to(place.device))


def _resized(place: Place, dtype: str, k: int, resize: str) -> dict[str, Any]:
    palette = _palette(place, k, "dataset")
    image = _image(place, dtype, palette)
    if resize == "rgb":  # what is not finite spreads in ways that depend on the order of a sum
        image = image[:1, :, : image.shape[-2] * 4 // 6].contiguous()
    measured: dict[str, Any] = {}
    height, width = image.shape[-2:]
    for size in ((2 * height, 2 * width), (height // 3, width * 2 + 1), (height + 1, 1)):
        options: dict[str, Any] = {"size": size, "resize": resize, "margin": True}
        labels, margin = g.maskige_decode(image, palette, **options, backend=place.backend)
        alone = g.maskige_decode(image, palette, size=size, resize=resize, backend=place.backend)
        judge.same(alone, labels, "labels without margins")
        if resize == "vote":
            wanted, distance = g.maskige_decode(image, palette, **options, backend="reference")
            judge.same(labels, wanted, "labels")
            measured |= judge.close(margin, distance, 1e-4, 1e-3, "margin")
        else:
            measured |= _nearly_nearest(labels, margin, image, palette, size)
    return measured


def _nearly_nearest(
    labels: Tensor, margin: Tensor, image: Tensor, palette: Tensor, size: tuple[int, int]
) -> dict[str, float]:
    """Of blended colours: the label's colour is nearest, and the margin is that to a runner-up, up to rounding.

    Where two runners-up are equally far, rounding chooses, and their walls may lie at different distances.
    """
    colours = F.interpolate(image.float().double(), size, mode="bilinear", align_corners=False)
    table = palette.double()
    distance = torch.stack([(colours - c[:, None, None]).square().sum(1).sqrt() for c in table], 1)
    chosen = labels.long()[:, None]
    nearest = distance.gather(1, chosen)
    late = (nearest - distance.amin(1, keepdim=True)).amax()
    if not bool(late <= 1e-3):
        raise Wrong(
            f"resized colours are up to {float(late):.3g} further from the label's colour than from the nearest"
        )
    if len(table) == 1:
        judge.same(margin, torch.full_like(margin, torch.inf), "the margin of one class")
        return {"furthest_from_nearest": float(late)}
    others = distance.scatter(1, chosen, torch.inf)
    runs_up = others <= others.amin(1, keepdim=True) + 1e-3
    apart = torch.cdist(table, table, compute_mode="donot_use_mm_for_euclid_dist")[labels.long()].movedim(-1, 1)
    walls = torch.where(apart > 0, (distance.square() - nearest.square()) / (2 * apart), 0).clamp(min=0)
    lowest = torch.where(runs_up, walls, torch.inf).amin(1)
    highest = torch.where(runs_up, walls, -torch.inf).amax(1)
    outside = torch.maximum(lowest - margin, margin - highest).clamp(min=0)
    excess = outside - 1e-2 - 1e-4 * highest
    if not bool((excess <= 0).all()):
        first = tuple((~(excess <= 0)).nonzero()[0].tolist())
        raise Wrong(
            f"margin at {first} is {margin[first].item()}, expected {lowest[first].item()} to {highest[first].item()}"
        )
    return {"furthest_from_nearest": float(late), "margin_error": float(outside.max())}


def _evaluate(place: Place, dtype: str, k: int) -> None:
    palette = _palette(place, k, "dataset")
    image = _image(place, dtype, palette)
    height, width = image.shape[-2:]
    for size in ((height, width), (height // 2, width + 3), (4 * height, 4 * width))[: 2 if place.dry else 3]:
        target = _labels(place, "uint8", k, (2, *size))
        for resize in ("vote", "rgb") if size == (height, width) else ("vote",):
            for ignored in (255, 1):
                options: dict[str, Any] = {"ignore_index": ignored, "resize": resize}
                counts = g.maskige_evaluate(image, palette, target, **options, backend=place.backend)
                wanted = g.maskige_evaluate(image, palette, target, **options, backend="reference")
                judge.same(counts, wanted, f"counts of {size}, {options}")


def _encode(place: Place, dtype: str, labels_dtype: str) -> None:
    if place.interpreted and dtype == "bfloat16":
        raise Absent("the interpreter cuts bfloat16 off where a GPU rounds it")
    kind = getattr(torch, dtype)
    most = torch.iinfo(getattr(torch, labels_dtype)).max
    for k in (1, 19, 150, 255, 256, 3000):
        if k - 1 > most or (place.dry and k > 300):
            continue
        shape = (2, 7, 9) if place.dry else (2, 187, 203)
        labels = _labels(place, labels_dtype, k, shape)
        palette = _palette(place, k, "dataset")
        for map_ in (labels, labels[0, ::2, 1::3], labels[:, :0], labels[:1].expand(3, *shape[1:])):
            for options in (
                {},
                {"scale": 1 / 255, "shift": -0.5, "ignore_color": (1, 2.5, 3)},
                {"scale": 3.7, "shift": -300.0, "ignore_index": 0},
            ):
                got = g.maskige_encode(map_, palette, dtype=kind, **options, backend=place.backend)
                wanted = g.maskige_encode(map_, palette, dtype=kind, **options, backend="reference")
                judge.same(got, wanted, f"colours of {tuple(map_.shape)} labels, K = {k}, {options},")


def _label_resize(place: Place, dtype: str) -> None:
    for k in (19,) if place.dry else (1, 19, 100):
        height, width = (9, 7) if place.dry else (97, 131)
        labels = _labels(place, dtype, k, (3, height, width))
        for map_ in (labels, labels[1], labels.transpose(1, 2), labels[:, ::2, 1:]):
            for size in ((4 * height, 4 * width), (height // 2, width + 5), (1, 3), tuple(map_.shape[-2:])):
                options: dict[str, Any] = {"num_classes": k, "ignore_index": 127}
                got = g.label_resize(map_, size, **options, backend=place.backend)
                judge.same(got, g.label_resize(map_, size, **options, backend="reference"), f"labels at {size}")


def _confusion(place: Place, dtype: str, k: int) -> None:
    shape = (2, 9, 11) if place.dry else (3, 311, 517)
    target = _labels(place, dtype, k, shape)
    prediction = _labels(place, dtype, k, (*shape[:-1], shape[-1] + 1))[..., 1:]
    constant = torch.full_like(target, k // 2)
    for p, t in ((prediction, target), (target, target), (constant, constant), (prediction[:, :0], target[:, :0])):
        for ignored in (255, k // 2, -1):
            options: dict[str, Any] = {"ignore_index": ignored}
            got = g.confusion_matrix(p, t, k, **options, backend=place.backend)
            judge.same(got, g.confusion_matrix(p, t, k, **options, backend="reference"), f"counts without {ignored}")
