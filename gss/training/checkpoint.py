"""Checkpoints that are either whole or not there: temporary name, fsync, rename."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

_STEP_FILE = re.compile(r"step_(\d+)\.pt")
_DAMAGE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError)


class CheckpointError(RuntimeError):
    """No usable checkpoint where one was expected."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk and rename it to `path`.

    A process killed at any moment leaves the old file or the new one, never a part of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":
        # the rename itself is durable only once the folder is flushed
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_temporary_files(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()


def checkpoint_path(folder: Path, step: int) -> Path:
    """`folder/step_0000500.pt` for step 500."""
    return folder / f"step_{step:07d}.pt"


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    found = ((_STEP_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match.group(1)), path) for match, path in found if match)


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], *, keep: int = 2) -> Path:
    """Write `state` (tensors and plain values only) as the checkpoint of `step`; keep the newest `keep`."""
    path = checkpoint_path(folder, step)
    write_atomically(path, lambda temporary: torch.save(dict(state), temporary))
    for _, old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def load_latest_checkpoint(folder: Path, *, set_damaged_aside: bool = True) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint of `folder`, on the CPU, or None if the folder has none.

    Read with `weights_only=True`: a checkpoint cannot execute code. A damaged file is reported as a warning and renamed
    to `*.damaged`, and the one before it is used.

    Raises:
        CheckpointError: if there are checkpoints and none can be read.
    """
    checkpoints = list_checkpoints(folder)
    for _, path in reversed(checkpoints):
        try:
            return path, torch.load(path, map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            warnings.warn(
                f"checkpoint {path} is damaged ({type(error).__name__}: {reason}); trying the one before it",
                stacklevel=2,
            )
            if set_damaged_aside:
                os.replace(path, path.with_name(path.name + ".damaged"))
    if checkpoints:
        raise CheckpointError(
            f"none of the {len(checkpoints)} checkpoints in {folder} can be read; remove it to start over"
        )
    return None


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors, atomically, with string metadata. A tied tensor is stored under each name."""
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=dict(metadata)))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State dict and metadata of a safetensors file, on the CPU.

    Raises:
        CheckpointError: if the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); remove it to rebuild it from the last checkpoint"
        ) from error
