"""Deterministic inputs of a case, like those that the operations get in use.

Maskiges of content "scene" are patches of one class with noise and mixed colours at the borders, as a decoder paints
them. "random" colours are uniform: the worst case for code that profits from similar neighbours.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.cases import Case

PALETTES = Path(__file__).resolve().parents[2] / "gss" / "palettes"
NAMED = {19: "cityscapes", 150: "ade20k", 194: "mseg"}
IGNORE = 255


def make(case: Case, device: torch.device | str = "cpu") -> SimpleNamespace:
    """Tensors and settings of `case` by the names that the public functions use. Values do not depend on the device."""
    generator = torch.Generator().manual_seed(sum(map(ord, case.op)))
    made = SimpleNamespace(case=case, **case.sizes)
    if "dtype" in case.sizes:
        made.dtype = getattr(torch, case.dtype)
    if "rows" in case.sizes:
        _vectors(made, generator)
    else:
        _pictures(made, generator)
    moved = {name: t.to(device) if isinstance(t, Tensor) else t for name, t in vars(made).items()}
    return SimpleNamespace(**moved | {"device": torch.device(device)})


def clone(made: SimpleNamespace) -> SimpleNamespace:
    """The same inputs in other memory."""
    return SimpleNamespace(**{name: t.clone() if isinstance(t, Tensor) else t for name, t in vars(made).items()})


def palette(classes: int) -> Tensor:
    """(K, 3) float32 colours: the dataset's own for K = 19, 150 and 194, random ones otherwise."""
    if classes in NAMED:
        return torch.tensor(json.loads((PALETTES / f"{NAMED[classes]}.json").read_text())["colors"]).float()[:classes]
    return torch.randint(0, 256, (classes, 3), generator=torch.Generator().manual_seed(classes)).float()


def _pictures(made: SimpleNamespace, generator: torch.Generator) -> None:
    case = made.case
    made.palette = palette(made.classes)
    made.labels = _scene(case.height, case.width, case.classes, generator)
    made.size = (case.sizes.get("out_height", case.height), case.sizes.get("out_width", case.width))
    if case.op in ("maskige_decode", "maskige_evaluate"):
        made.maskige = _maskige(made, generator)
        made.target = _scene(*made.size, case.classes, generator)
    if case.op == "maskige_encode":
        made.labels = _ignored(made.labels, generator)
    if case.op == "confusion_matrix":
        changed = torch.rand(made.labels.shape, generator=generator) < 0.2
        made.prediction = torch.where(changed, _scene(*made.size, case.classes, generator), made.labels)
        made.target = _ignored(made.labels, generator)


def _vectors(made: SimpleNamespace, generator: torch.Generator) -> None:
    case = made.case
    table = torch.randn(case.codes, case.features, generator=generator)
    x = torch.randn(case.rows, case.features, generator=generator)
    if case.content == "clustered":
        x = table[torch.randint(0, case.codes, (case.rows,), generator=generator)] + 0.3 * x
    made.x, made.table = x.to(made.dtype), table.to(made.dtype)
    if case.op.startswith("linear"):
        made.x = (x / case.features**0.5).to(made.dtype)  # logits with a standard deviation of 1
        made.bias = torch.randn(case.codes, generator=generator).to(made.dtype)
    made.target = torch.randint(0, case.codes, (case.rows,), generator=generator)


def _scene(height: int, width: int, classes: int, generator: torch.Generator) -> Tensor:
    """(1, H, W) uint8 (int32 above 255 classes): patches of about 24 pixels, with two percent of stray pixels."""
    dtype = torch.uint8 if classes <= 255 else torch.int32
    rows, columns = -(-height // 24), -(-width // 24)
    coarse = torch.randint(0, classes, (1, 1, rows, columns), generator=generator, dtype=dtype)
    labels = coarse.repeat_interleave(24, 2).repeat_interleave(24, 3)[:, 0, :height, :width]
    stray = torch.rand(labels.shape, generator=generator) < 0.02
    anything = torch.randint(0, classes, labels.shape, generator=generator, dtype=dtype)
    return torch.where(stray, anything, labels).contiguous()


def _maskige(made: SimpleNamespace, generator: torch.Generator) -> Tensor:
    shape = (1, 3, made.height, made.width)
    if made.case.sizes.get("content") == "random":
        colors = torch.rand(shape, generator=generator) * 255
    else:
        painted = made.palette[made.labels.long()].permute(0, 3, 1, 2)
        mixed = F.avg_pool2d(painted, 3, stride=1, padding=1, count_include_pad=False)
        colors = (mixed + 6 * torch.randn(shape, generator=generator)).clamp(0, 255)
    if made.dtype is torch.uint8:
        colors = colors.round()
    return colors.to(made.dtype).contiguous()


def _ignored(labels: Tensor, generator: torch.Generator) -> Tensor:
    where = torch.rand(labels.shape, generator=generator) < 0.05
    return torch.where(where, IGNORE, labels).to(labels.dtype)
