"""Recordings of the official heads and whole models, and our models with their weights, through the conversion."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.backbones import ImageEncoder
from gss.convert.backbone_config import backbone_config
from gss.convert.official import convert_official
from gss.model import GSS

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")
# The recorded small heads differ from the official classes in the size of the dVAE alone.
HEADS = {
    "ff": "GenerativeSegHeadFF",
    "ffsf": "GenerativeSegHeadFFSingleFusion",
    "ftw": "GenerativeSegHeadFTW",
    "TinyFF": "GenerativeSegHeadFF",
    "TinyFFSF": "GenerativeSegHeadFFSingleFusion",
    "TinyFTW": "GenerativeSegHeadFTW",
}


@dataclass
class Recording:
    """`config` is what the official model was built with; the rest are tensors by their recorded names."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The outputs below a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.outputs.items() if name.startswith(prefix)}


def files(pattern: str) -> list[Path]:
    """Recordings of that name; none without GSS_OFFICIAL_FIXTURES."""
    return sorted(Path(FOLDER).glob(pattern)) if FOLDER else []


def load(path: Path) -> Recording:
    with np.load(path) as arrays:
        config = json.loads(bytes(arrays["meta_json"]).decode())["cfg"]
        parts: dict[str, dict[str, Tensor]] = {"sd": {}, "in": {}, "out": {}}
        for name in arrays.files:
            if name != "meta_json":
                part, _, rest = name.partition("/")
                parts[part][rest] = torch.from_numpy(arrays[name])
    return Recording(config, parts["sd"], parts["in"], parts["out"])


def head_model(recording: Recording) -> tuple[GSS, tuple[int, ...]]:
    """Our model with the recorded head, and its order of levels.

    The recordings start at the backbone's maps. HRNet is the backbone that can have any channels; its weights are
    random, and what is compared does not pass through it.
    """
    head = {**recording.config["kwargs"], "type": HEADS[recording.config["head"]]}
    order = head["in_index"]
    channels = [head["in_channels"][order.index(level)] for level in range(len(order))]
    backbone = {"type": "HRNet", "extra": hrnet_layout(channels), "norm_cfg": {"type": "BN"}}
    state = {f"backbone.{k}": v for k, v in ImageEncoder(backbone_config(backbone)).backbone.state_dict().items()}
    state |= {f"decode_head.{k}": v for k, v in recording.weights.items()}
    return convert_official(state, {"backbone": backbone, "decode_head": head}), tuple(order)


def hrnet_layout(channels: list[int]) -> dict[str, Any]:
    """The smallest HRNet with these channels of its four maps."""
    stages = {"stage1": {"num_modules": 1, "block": "BOTTLENECK", "num_blocks": [1], "num_channels": [4]}}
    for branches in (2, 3, 4):
        stages[f"stage{branches}"] = {
            "num_modules": 1,
            "block": "BASIC",
            "num_blocks": [1] * branches,
            "num_channels": channels[:branches],
        }
    return stages


def whole_config(recording: Recording) -> dict[str, Any]:
    """The official configuration of a recorded segmentor."""
    model = recording.config["model"]
    return {**model, "decode_head": {**model["decode_head"], "type": HEADS[model["decode_head"]["type"]]}}


def largest(got: Tensor, wanted: Tensor) -> float:
    return float((got.double() - wanted.double()).abs().max()) if got.numel() else 0.0


def assert_near(what: str, got: Tensor, wanted: Tensor, atol: float = 1e-4, rtol: float = 1e-4) -> None:
    """Prints the line of the parity table; the recordings' own noise with other kernels is below these tolerances."""
    print(f"| {what} | {largest(got, wanted):.1e} | {atol:g} + {rtol:g} x |")
    torch.testing.assert_close(got, wanted, atol=atol, rtol=rtol)


def assert_same(what: str, got: Tensor, wanted: Tensor) -> None:
    print(f"| {what} | {int((got != wanted).sum())} of {wanted.numel()} differ | exact |")
    assert torch.equal(got.long(), wanted.long())
