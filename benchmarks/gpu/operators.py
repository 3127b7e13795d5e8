"""Arguments of the operators behind the public functions, at three shapes for opcheck.

The shapes are asymmetric: a fake kernel that swaps height and width, or V and D, shows only where they differ.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu.place import Place
from gsskernels import _ops

OPERATORS = sorted(
    name for name, value in vars(_ops).items() if isinstance(value, torch._ops.OpOverload) and name[0] != "_"
)
SHAPES = [(1, 2, 5, 3, 4), (2, 7, 3, 1, 2), (3, 4, 6, 11, 9)]  # B, H, W, classes or codes, features


def arguments(name: str, shape: int, place: Place) -> tuple[Any, ...]:
    b, h, w, k, d = SHAPES[shape]
    options: dict[str, Any] = {"generator": place.generator(shape), "device": place.device}
    grad = name.endswith("_gradients") or name.endswith("_gradient")
    labels = torch.randint(0, k, (b, h, w), **options)
    image, palette = torch.rand(b, 3, h, w, **options) * 255, torch.rand(k, 3, **options) * 255
    x, table, bias = (torch.randn(s, **options) for s in ((b, d, h, w), (k, d), (k,)))
    if grad:
        palette, x, table, bias = (t.requires_grad_() for t in (palette, x, table, bias))
    size = [h + 1, 2 * w + 1]
    loss = (1, -100, 0.1)  # dim, ignore_index, label_smoothing
    paint = (labels, palette, 0.5, 1.0, 255, [1.0, 2.0, 3.0], torch.float32)
    upstream = torch.ones(b, h, w, device=place.device)
    lse = F.linear(x.detach().movedim(1, -1), table.detach(), bias.detach()).logsumexp(-1).flatten()
    given: dict[str, tuple[Any, ...]] = {
        "code_statistics": (x, labels, k, 1),
        "confusion_matrix": (labels, labels.flip(1), k, 255),
        "label_resize": (labels, size, k, 255),
        "linear_argmax": (x, table, bias, 1, None),
        "linear_cross_entropy": (x, table, labels, bias, *loss, "sum"),
        "linear_cross_entropy_with_gradients": (x, table, labels, bias, *loss, "mean", [True] * 3),
        "linear_cross_entropy_backward": (
            upstream, x, table, labels, bias, lse, *loss, "none", [True, False, True],
        ),
        "linear_sample": (x, table, None, 0.7, 3, 1),
        "maskige_decode": (image, palette, size, "vote"),
        "maskige_decode_margin": (image, palette, None, "rgb"),
        "maskige_encode": paint,
        "maskige_encode_with_gradient": paint,
        "maskige_evaluate": (image, palette, labels, 255, "vote"),
        "nearest_code": (x, table, 1, None),
    }  # fmt: skip
    return (*given[name], place.backend)
