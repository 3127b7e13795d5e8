"""Tensors recorded from the official code, and our models with the recorded weights, through the conversion.

GSS_OFFICIAL_FIXTURES names their folder: there every recording has to be. Without it the folder is `recorded`, which
holds some of them; tests of the others are skipped.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gss.convert.names import IN_INDEX
from gss.convert.official import convert_official
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.gss import GSS
from tests.official.configurations import backbone_of, palette_of, recipe_of

NAMED = os.environ.get("GSS_OFFICIAL_FIXTURES")
FOLDER = Path(NAMED) if NAMED else Path(__file__).parent / "recorded"


@dataclass
class Recording:
    """`config` is what the official code was called with; the rest are tensors by their recorded names."""

    name: str
    kind: str
    config: dict[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The outputs below a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.outputs.items() if name.startswith(prefix)}


def files(*patterns: str) -> list[Path]:
    """The recordings of these names. A pattern that finds none stands for itself: its tests then skip or fail."""
    return [path for pattern in patterns for path in sorted(FOLDER.glob(pattern)) or [FOLDER / pattern]]


def by_name(path: Path) -> str:
    return path.stem


def load(path: Path) -> Recording:
    """A recording's tensors. Skips the test if it is not one of those in the repository."""
    require(path)
    with np.load(path) as arrays:
        meta = json.loads(bytes(arrays["meta_json"]).decode())
        parts: dict[str, dict[str, Tensor]] = {"sd": {}, "in": {}, "out": {}}
        for name in arrays.files:
            if name != "meta_json":
                part, _, rest = name.partition("/")
                parts[part][rest] = torch.from_numpy(arrays[name])
    return Recording(path.stem, meta["kind"], meta["cfg"], parts["sd"], parts["in"], parts["out"])


def load_json(path: Path) -> dict[str, Any]:
    """A recording without tensors. Skips the test if it is not one of those in the repository."""
    require(path)
    return json.loads(path.read_text("utf-8"))


def require(path: Path) -> None:
    if path.is_file():
        return
    if NAMED:
        raise FileNotFoundError(f"GSS_OFFICIAL_FIXTURES names {FOLDER}, which has no {path.relative_to(FOLDER)}")
    pytest.skip(f"no {path.relative_to(FOLDER)} in the repository: GSS_OFFICIAL_FIXTURES names a folder with all")


def head_model(recording: Recording) -> tuple[GSS, tuple[int, ...]]:
    """Our model with the recorded head, and its order of levels.

    The recordings start at the backbone's maps. HRNet is the backbone that can have any channels; its weights are
    random, and what is compared does not pass through it.
    """
    head = head_of(recording)
    order = head["in_index"]
    channels = [head["in_channels"][order.index(level)] for level in range(len(order))]
    backbone = {"type": "HRNet", "extra": hrnet_layout(channels), "norm_cfg": {"type": "BN"}}
    state = {f"backbone.{k}": v for k, v in ImageEncoder(backbone_of(backbone)).backbone.state_dict().items()}
    state |= {f"decode_head.{k}": v for k, v in recording.weights.items()}
    return official_model(state, {"backbone": backbone, "decode_head": head}), tuple(order)


def head_of(recording: Recording) -> dict[str, Any]:
    """The official arguments of a recorded head, its kind as `type`."""
    return {**recording.config["kwargs"], "type": recording.config["head"]}


def official_model(state: dict[str, Tensor], config: dict[str, Any]) -> GSS:
    """The model with official weights of an official configuration."""
    head = config["decode_head"]
    return convert_official(state, recipe_of(config), palette_of(head), head.get("in_index", IN_INDEX))


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
