"""State dicts of others: taken out of a checkpoint, and matched with what a model here expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gss.io.checkpoints import describe

MAX_NAME = 200


def state_dict_of(content: Any) -> dict[str, Tensor]:
    """What `read_checkpoint` returned as names and tensors: its "state_dict" where it has one, else the whole.

    Raises ValueError for anything else.
    """
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise ValueError(f"expected a module or a state dict, got {describe(content)}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError("expected a state dict of names and tensors")
        # Names are shown in messages, where a file could otherwise send commands to a terminal.
        if not key.isprintable() or len(key) > MAX_NAME:
            raise ValueError(f"expected names of at most {MAX_NAME} printable characters")
    return content


def fit(
    state: Mapping[str, Tensor], wanted: Mapping[str, tuple[str, torch.Size]], what: str, prefix: str = ""
) -> dict[str, Tensor]:
    """The weights of a state dict under the names of a model here, float32 copies.

    Args:
        state: the weights, without any that the model has no use for.
        wanted: key of each weight there -> (name here, shape).
        what: the weights in words, and `prefix` what the keys of `state` have lost; both for messages.

    Raises:
        ValueError: listing every key that is missing, unexpected, mis-shaped or not of floating numbers.
    """
    problems = [f"missing {prefix}{key}" for key in wanted if key not in state]
    problems += [f"unexpected {prefix}{key}" for key in state if key not in wanted]
    for key, (_, shape) in wanted.items():
        if key in state and state[key].shape != shape:
            problems.append(f"mis-shaped {prefix}{key}: expected {tuple(shape)}, got {tuple(state[key].shape)}")
        elif key in state and not state[key].is_floating_point():
            problems.append(f"mistyped {prefix}{key}: expected floating numbers, got {state[key].dtype}")
    if problems:
        raise ValueError(f"{what} do not fit: " + "; ".join(problems))
    return {name: state[key].detach().to(torch.float32, copy=True) for key, (name, _) in wanted.items()}
