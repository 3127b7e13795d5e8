"""The published DALL-E dVAE as a `DalleTokenizer`: from encoder.pkl and decoder.pkl, or from their state dicts.

The two files are whole pickled modules; `read_checkpoint` reads their attributes without importing the package that
wrote them. GSS checkpoints hold the same keys below `decode_head.d_vae.`, see `gss.convert.names`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gss.config import DalleConfig
from gss.convert.state_dict import fit, state_dict_of
from gss.io.checkpoints import Inert, describe, read_checkpoint
from gss.io.files import PathLike
from gss.model.tokenizers.dalle import DalleTokenizer


def read_dalle(encoder: PathLike, decoder: PathLike) -> DalleTokenizer:
    """The dVAE in the two files, each a whole pickled module or its state dict, see `dalle_from_state`.

    Raises:
        ValueError: a file is damaged, holds anything else, or does not fit; nothing in it is executed.
        OSError: a file cannot be read.
    """
    state: dict[str, Tensor] = {}
    for part, path in (("encoder", encoder), ("decoder", decoder)):
        content = read_checkpoint(path)
        try:
            tensors = module_state(content) if isinstance(content, Inert) else state_dict_of(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        state.update({f"{part}.{key}": value for key, value in tensors.items()})
    return dalle_from_state(state)


def dalle_from_state(state: Mapping[str, Tensor]) -> DalleTokenizer:
    """The dVAE with the official weights `encoder.blocks...` and `decoder.blocks...`.

    Sizes follow from the shapes. The result is frozen, in evaluation mode, float32, and shares no memory with `state`.

    Raises:
        ValueError: weights that are missing, unexpected, of another shape or no floating numbers.
    """
    with torch.device("meta"):
        tokenizer = DalleTokenizer(dalle_config(state))
    fit(state, {name: official_name(name) for name in tokenizer.state_dict()}, tokenizer, "DALL-E")
    return tokenizer


def official_name(name: str) -> str:
    """The official key of a weight of `DalleTokenizer`: encoder.groups.0.1.convolutions.2.weight ->
    encoder.blocks.group_1.block_2.res_path.conv_3.w."""
    part, *middle, kind = name.split(".")
    if middle[0] == "groups":
        _, group, block, path, *index = middle
        place = f"group_{int(group) + 1}.block_{int(block) + 1}."
        place += f"res_path.conv_{int(index[0]) + 1}" if path == "convolutions" else "id_path"
    else:
        place = {"input": "input", "output": "output.conv"}[middle[0]]
    return f"{part}.blocks.{place}.{kind[0]}"


def module_state(module: Inert) -> dict[str, Tensor]:
    """The state dict of a pickled module that was read as `Inert`s: parameters and buffers under dotted names.

    Raises ValueError for anything that is no module, and for a module that appears twice, which also rules out loops.
    """
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", module)]
    while waiting:
        prefix, current = waiting.pop()
        if not isinstance(current, Inert):
            raise ValueError(f"module {prefix[:80]!r}: expected a module, got {describe(current)}")
        if id(current) in seen:
            raise ValueError(f"module {prefix[:80]!r} appears twice")
        if len(prefix) > 1000:
            raise ValueError("modules nested too deeply")
        seen.add(id(current))
        for kind in ("_parameters", "_buffers"):
            for name, value in _members(current, kind):
                if isinstance(value, Tensor):
                    state[prefix + name] = value
                elif value is not None:
                    raise ValueError(f"{(prefix + name)[:80]!r}: expected a tensor, got {describe(value)}")
        waiting += [(f"{prefix}{name}.", child) for name, child in _members(current, "_modules") if child is not None]
    return state


def _members(module: Inert, kind: str) -> list[tuple[str, Any]]:
    members = module.attributes.get(kind)
    if not isinstance(members, dict) or not all(isinstance(name, str) for name in members):
        raise ValueError(f"{describe(module)}: its {kind} are no dict of names")
    return list(members.items())


def dalle_config(state: Mapping[str, Tensor]) -> DalleConfig:
    """Sizes of the model with the official weights `encoder.blocks...` and `decoder.blocks...`.

    Raises ValueError where one of the weights that decide them is missing or has another number of dimensions.
    """

    def size(key: str, dimension: int) -> int:
        if key not in state:
            raise ValueError(f"DALL-E weights do not fit: missing {key}")
        if state[key].ndim != 4:
            raise ValueError(
                f"DALL-E weights do not fit: {key} has shape {tuple(state[key].shape)}, expected four sizes"
            )
        return state[key].shape[dimension]

    def blocks(part: str) -> int:
        pattern = re.compile(rf"{part}\.blocks\.group_1\.block_(\d+)\.")
        found = {match[1] for key in state if (match := pattern.match(key))}
        return max(len(found), 1)

    return DalleConfig(
        codes=size("encoder.blocks.output.conv.w", 0),
        encoder_width=size("encoder.blocks.input.w", 0),
        decoder_width=size("decoder.blocks.output.conv.w", 1),
        code_dim=size("decoder.blocks.input.w", 0),
        encoder_blocks=blocks("encoder"),
        decoder_blocks=blocks("decoder"),
    )
