"""Checkpoints and weights of a stage: written whole or not at all, and damaged ones recognised."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gss.io.files import replace_file

_STEP_FILE = re.compile(r"step_(\d+)\.pt")
# The errors of torch.load for a damaged file.
_DAMAGE = (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError)


class CheckpointError(RuntimeError):
    """No usable checkpoint where one was expected."""


class Checkpoint(NamedTuple):
    """A readable checkpoint, and the newer ones that are damaged, newest first, each with its error."""

    path: Path
    state: dict[str, Any]
    damaged: list[tuple[Path, Exception]]


def checkpoint_path(folder: Path, step: int) -> Path:
    """The file of a checkpoint.

    >>> checkpoint_path(Path("run"), 500).name
    'step_0000500.pt'
    """
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
    with replace_file(path) as temporary:
        torch.save(dict(state), temporary)
    for _, old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def newest_checkpoint(folder: Path, *, mmap: bool = False) -> Checkpoint | None:
    """The newest readable checkpoint of `folder`, on the CPU, or None if the folder never had one. Changes nothing.

    It is read with `weights_only=True`, so a checkpoint cannot execute code. With `mmap`, tensors are read on use.

    Raises:
        CheckpointError: there are checkpoints, or some that were set aside as damaged, and none can be read.
        OSError: the file system refuses to read a checkpoint.
    """
    damaged: list[tuple[Path, Exception]] = []
    for _, path in reversed(list_checkpoints(folder)):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except _DAMAGE as error:
            damaged.append((path, error))
        except OSError as error:
            # A file without read permission or on a failing disk is not damaged. EINVAL means a file cut so short that
            # torch seeks to a position before its beginning.
            if error.errno != errno.EINVAL:
                raise
            damaged.append((path, error))
        else:
            return Checkpoint(path, state, damaged)
    aside = sorted(folder.glob("step_*.pt.damaged"))
    if damaged or aside:
        raise CheckpointError(
            f"{folder}: none of the checkpoints can be read ({', '.join(p.name for p, _ in damaged) or aside[-1].name} "
            f"{'is' if len(damaged) < 2 else 'are'} damaged); remove the folder to train this stage from the start"
        )
    return None


def load_latest_checkpoint(folder: Path, *, set_damaged_aside: bool = True) -> tuple[Path, dict[str, Any]] | None:
    """Path and state of `newest_checkpoint`, with a warning for every damaged file that was skipped.

    Skipped files are renamed to `*.damaged`; where no older checkpoint can be read, they keep their names.
    """
    found = newest_checkpoint(folder)
    if found is None:
        return None
    for path, error in found.damaged:
        reason = (str(error).strip().splitlines() or [""])[0]
        warnings.warn(
            f"checkpoint {path} is damaged ({type(error).__name__}: {reason}); going back to {found.path.name}",
            stacklevel=2,
        )
        if set_damaged_aside:
            os.replace(path, path.with_name(path.name + ".damaged"))
    return found.path, found.state


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors, whole or not at all. A tied tensor is stored under each of its names."""
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
    with replace_file(path) as temporary:
        save_file(tensors, temporary, metadata=dict(metadata))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State dict and metadata of a safetensors file, on the CPU.

    Raises:
        CheckpointError: if the file is damaged.
    """
    metadata = load_metadata(path)
    with _damage_named(path):
        return load_file(path), metadata


def load_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors. Raises CheckpointError if the file is damaged."""
    with _damage_named(path), safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def weights_digest(path: Path) -> str:
    """A short hash of the tensors of a safetensors file (names, dtypes, shapes and values) without its metadata."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_weights(path)[0].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Add `path` to the errors of `load_state_dict`, which name parameters only."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit the model that is being trained: {error}") from error


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); remove it to rebuild it from the last checkpoint"
        ) from error
