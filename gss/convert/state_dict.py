"""State dicts of others: taken out of a checkpoint, and compared with the names and shapes that a model expects."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor

from gss.io.checkpoints import describe

MAX_NAME = 200
SHOWN = 5


def state_dict_of(content: Any) -> dict[str, Tensor]:
    """The state dict in the result of `read_checkpoint`: its "state_dict" where it has one, else the whole.

    Raises ValueError for anything else.
    """
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ValueError(f"expected a state dict, a mapping of names to tensors, got {describe(state)}")
    for name, value in state.items():
        # Names are shown in messages, where a file could otherwise send commands to a terminal.
        if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME:
            raise ValueError(f"expected a state dict with names of at most {MAX_NAME} printable characters")
        if not isinstance(value, Tensor):
            raise ValueError(f"expected a state dict of tensors, got {describe(value)} for {name}")
    return state


def problems(state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], optional: Container[str] = ()) -> list[str]:
    """Differences between a state dict and the shapes that a model expects, each kind with its first five names.

    Args:
        optional: names that may be missing, or hold integers.
    """
    shared = [name for name in wanted if name in state]
    kinds = {
        "missing": [name for name in wanted if name not in state and name not in optional],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name])}"
            for name in shared
            if state[name].shape != wanted[name]
        ],
        "no floating numbers": [
            f"{name} ({state[name].dtype})"
            for name in shared
            if name not in optional and not state[name].is_floating_point()
        ],
    }
    return [f"{len(found)} {kind}: {first(found)}" for kind, found in kinds.items() if found]


def first(names: list[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def fit(state: Mapping[str, Tensor], names: Mapping[str, str], module: torch.nn.Module, kind: str) -> None:
    """Copy a state dict into a module on the meta device, which then is frozen, float32 and in evaluation mode.

    Args:
        state: the weights, without any that the model has no use for.
        names: name in the module -> name in `state`.
        kind: the weights in words, for the message.

    Raises:
        ValueError: weights that are missing, unexpected, of another shape or no floating numbers.
    """
    own = module.state_dict()
    if found := problems(state, {names[name]: value.shape for name, value in own.items()}):
        raise ValueError(f"{kind} weights do not fit: {'; '.join(found)}")
    copies = {name: state[names[name]].detach().to(torch.float32, copy=True) for name in own}
    module.load_state_dict(copies, assign=True)
    module.requires_grad_(False).eval()
