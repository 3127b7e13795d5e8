"""The problems that rows of a table are timed on, and the configurations to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from gsskernels.reference.cross_entropy import CrossEntropyOptions

Use = dict[str, Any]  # the configuration in a row of a table

ROWS, CODES, FEATURES = 73728, 8192, 2048
STEPS = {
    "block_rows": (64, 128, 256),
    "block_codes": (64, 128, 256),
    "block_features": (32, 64, 128, 256),
    "num_warps": (4, 8),
    "num_stages": (2, 3, 4),
}


@dataclass(frozen=True)
class Problem:
    """The inputs that a row of a table is timed on. On the meta device a call only plans."""

    op: str
    item: int
    features: int
    rows: int = ROWS
    codes: int = CODES

    def call(self, device: torch.device) -> Callable[[], Tensor]:
        from gsskernels import triton as backend

        make = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
        dtype = torch.float32 if self.item == 4 else torch.float16 if device.type == "cpu" else torch.bfloat16
        options: dict[str, Any] = {"generator": make, "device": device}
        x = torch.randn(self.rows, self.features, **options).to(dtype)
        table = torch.randn(self.codes, self.features, **options).to(dtype)
        target = torch.randint(0, self.codes, (self.rows,), **options)
        options_of_loss = CrossEntropyOptions(dim=1, reduction="none")
        calls: dict[str, Callable[[], Tensor]] = {
            "nearest_code": lambda: backend.nearest_code(x, table, 1, None),
            "nearest_code as tf32": lambda: backend.nearest_code(x, table, 1, "tf32"),
            "linear_sample": lambda: backend.linear_sample(x, table, None, 1.0, 0, 1),
            "linear_cross_entropy": lambda: backend.linear_cross_entropy(x, table, target, None, options_of_loss)[0],
        }
        return calls[self.op]


def problem(kernel: str, when: dict[str, Any]) -> Problem:
    """The problem that a row stands for: the largest that its conditions allow, or a large one without conditions."""
    features = when.get("features_upto", 256 if "item" in when or "parts" in when else FEATURES)
    if kernel == "affine_argmax":
        item = when.get("item", 2)
        return Problem("nearest_code as tf32" if item == 4 else "nearest_code", item, features)
    if kernel == "certified":
        return Problem("nearest_code", 4, features)
    ops = {"sample": "linear_sample", "cross_entropy_fused": "linear_cross_entropy"}
    return Problem(ops[kernel], when.get("item", 2), 256)


def candidates(use: Use, features: int, quick: bool) -> list[Use]:
    """Configurations to time beside `use`: its neighbours, or every tile whose scores fit a thread's registers."""
    if quick:
        steps = ((name, value) for name, values in STEPS.items() for value in _beside(values, use[name]))
        found = [{**use, name: value} for name, value in steps]
    else:
        found = [dict(zip(STEPS, values, strict=True)) for values in product(*STEPS.values())]
    return [c for c in found if c != use and c["block_features"] <= max(32, features) and 16 <= _scores(c) <= 128]


def _beside(values: tuple[int, ...], value: int) -> tuple[int, ...]:
    lower, higher = [v for v in values if v < value], [v for v in values if v > value]
    return (*lower[-1:], *higher[:1])


def _scores(use: Use) -> int:
    """The number of float32 scores that a thread holds. It has 255 registers."""
    return use["block_rows"] * use["block_codes"] // (32 * use["num_warps"])
