"""More than 2^31 elements, and elements more than 2^31 apart: where 32-bit offsets would wrap.

Large tensors are compared with the reference at their start, around element 2^31 and at their end only. A dry run has
none of these checks: they need several gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gsskernels as g
from benchmarks.gpu import judge
from benchmarks.gpu.checks import Absent, Check, Wrong
from benchmarks.gpu.place import Place

FAR = 2**31 + 11


def checks(place: Place) -> Iterator[Check]:
    if place.dry:
        return
    needed: dict[Callable[[Place], None], int] = {
        _planes_apart: 5,
        _rows_apart: 9,
        _encode: 8,
        _decode: 8,
        _resize: 8,
        _confusion: 40,
        _rows: 12,
        _statistics: 20,
        _scores: 12,
    }
    for run, gib in needed.items():
        yield Check("beyond 2^31", run.__name__.strip("_").replace("_", " "), partial(_with_memory, place, run, gib))


def _with_memory(place: Place, run: Callable[[Place], None], gib: int) -> None:
    if place.free_bytes() < 1.2 * gib * 2**30:
        raise Absent(f"needs {gib} GiB, {place.free_bytes() / 2**30:.1f} are free")
    run(place)


def _windows(size: int) -> list[slice]:
    """Columns at the start, at the end, and around 2^31 where there is such a column."""
    around = [slice(2**31 - 500, 2**31 + 500)] if size > 2**31 + 500 else []
    return [slice(0, 1000), *around, slice(size - 1000, size)]


def _planes_apart(place: Place) -> None:
    palette = torch.randint(0, 256, (19, 3), generator=place.generator(0), device=place.device)
    storage = torch.empty(2 * FAR + 10_000, dtype=torch.uint8, device=place.device)
    near = torch.randint(0, 256, (3, 40, 50), generator=place.generator(1), device=place.device).to(torch.uint8)
    image = storage.as_strided((3, 40, 50), (FAR, 50, 1))
    image.copy_(near)
    options = {"backend": place.backend}
    judge.same(g.maskige_decode(image, palette, **options), g.maskige_decode(near, palette, **options))
    labels = storage.as_strided((2, 40, 50), (FAR, 50, 1))
    labels.copy_(near[:2] % 19)
    close = labels.contiguous()
    judge.same(g.maskige_encode(labels, palette, **options), g.maskige_encode(close, palette, **options))
    resized = [g.label_resize(t, (30, 90), num_classes=19, **options) for t in (labels, close)]
    judge.same(*resized)
    counts = [g.confusion_matrix(t[1], t[0], 19, **options) for t in (labels, close)]
    judge.same(*counts)


def _rows_apart(place: Place) -> None:
    storage = torch.empty(2 * FAR + 100, dtype=torch.bfloat16, device=place.device)
    near = torch.randn(3, 24, generator=place.generator(0), device=place.device).bfloat16()
    x = storage.as_strided((3, 24), (FAR, 1))
    x.copy_(near)
    table = torch.randn(133, 24, generator=place.generator(1), device=place.device).bfloat16()
    ids = torch.arange(3, device=place.device)
    for function in (g.nearest_code, g.linear_argmax, g.linear_sample):
        judge.same(function(x, table, backend=place.backend), function(near, table, backend=place.backend))
    found = [g.code_statistics(t, ids, 6, backend=place.backend) for t in (x, near)]
    judge.same(*found)
    losses = [g.linear_cross_entropy(t, table, ids, backend=place.backend) for t in (x, near)]
    judge.close(*losses, 1e-5, 1e-6, "the loss")


def _labels(place: Place, width: int, k: int) -> Tensor:
    return torch.randint(0, k, (2, width), generator=place.generator(0), device=place.device, dtype=torch.uint8)


def _encode(place: Place) -> None:
    labels = _labels(place, 2**30 // 3 + 1001, 19)
    palette = torch.randint(0, 256, (19, 3), generator=place.generator(1), device=place.device)
    painted = g.maskige_encode(labels, palette, dtype=torch.uint8, backend=place.backend)
    assert painted.numel() > 2**31
    for part in _windows(labels.shape[1]):
        wanted = g.maskige_encode(labels[:, part], palette, dtype=torch.uint8, backend="reference")
        judge.same(painted[..., part], wanted, f"columns {part}")


def _decode(place: Place) -> None:
    width = 2**30 // 3 + 1001
    make = place.generator(0)
    image = torch.randint(0, 256, (3, 2, width), generator=make, device=place.device, dtype=torch.uint8)
    for k in (19, 150):
        palette = torch.randint(0, 256, (k, 3), generator=place.generator(k), device=place.device)
        labels = g.maskige_decode(image, palette, backend=place.backend)
        for part in _windows(width):
            wanted = g.maskige_decode(image[..., part], palette, backend="reference")
            judge.same(labels[:, part], wanted, f"labels of {k} classes in columns {part}")


def _resize(place: Place) -> None:
    """At their own size labels stay as they are. Sides stay below 2^24: coordinates along them are float32."""
    rows, width = 2**15 + 3, 2**16
    labels = _labels(place, rows * width // 2, 19).view(rows, width)
    assert labels.numel() > 2**31
    got = g.label_resize(labels, (rows, width), num_classes=19, backend=place.backend)
    for part in (slice(0, 10), slice(2**15 - 5, rows)):
        judge.same(got[part], labels[part], f"labels at their own size in rows {part}")


def _confusion(place: Place) -> None:
    device, width = place.device, 2**30 + 7
    target = torch.tensor([[1], [2]], device=device).expand(2, width)
    prediction = torch.tensor([[0], [2]], device=device).expand(2, width)
    counts = g.confusion_matrix(prediction, target, 3, backend=place.backend).tolist()
    wanted = [[0, 0, 0], [width, 0, 0], [0, 0, width]]
    if counts != wanted:
        raise Wrong(f"counts are {counts}, expected {wanted}")


def _rows(place: Place) -> None:
    rows, features = 2**31 // 64 + 1001, 64
    x = torch.empty(rows, features, dtype=torch.bfloat16, device=place.device).normal_(generator=place.generator(0))
    table = torch.randn(16, features, generator=place.generator(1), device=place.device).bfloat16()
    zero = torch.zeros(16, dtype=torch.float64, device=place.device)
    index = g.linear_argmax(x, table, backend=place.backend)
    for part in _windows(rows):
        judge.best(index[part], x[part].double(), table.double(), zero, features)
    draws = g.linear_sample(x, table, seed=5, backend=place.backend)
    again = g.linear_sample(x, table, seed=5, backend=place.backend)
    judge.same(again[-1000:], draws[-1000:], "the last draws")
    if len(draws[-1000:].unique()) < 8:
        raise Wrong(f"the last 1000 rows drew only {draws[-1000:].unique().tolist()}")


def _statistics(place: Place) -> None:
    rows = 2**31 // 64 + 1001
    x = torch.ones(1, 64, dtype=torch.bfloat16, device=place.device).expand(rows, 64)
    codes = torch.arange(rows, device=place.device) % 4
    counts, sums = g.code_statistics(x, codes, 5, backend=place.backend)
    judge.same(counts, torch.bincount(codes, minlength=5), "counts")
    truth = counts.double()[:, None].expand(5, 64)
    judge.close(sums, truth.float(), 1e-5, 0.0, "sums")


def _scores(place: Place) -> None:
    """More than 2^31 logits."""
    rows, codes, features = 270_000, 8192, 16
    options: dict[str, Any] = {"generator": place.generator(0), "device": place.device}
    x = torch.randn(rows, features, **options).bfloat16()
    weight = torch.randn(codes, features, **options).bfloat16()
    target = torch.randint(0, codes, (rows,), **options)
    zero = torch.zeros(codes, dtype=torch.float64, device=place.device)
    assert rows * codes > 2**31
    losses = g.linear_cross_entropy(x, weight, target, reduction="none", backend=place.backend)
    index = g.linear_argmax(x, weight, backend=place.backend)
    for part in _windows(rows):
        wide = x[part].double()
        wanted = F.cross_entropy(wide @ weight.double().t(), target[part], reduction="none")
        judge.close(losses[part].double(), wanted, 1e-5, 1e-4, f"the loss of rows {part}")
        judge.best(index[part], wide, weight.double(), zero, features)
