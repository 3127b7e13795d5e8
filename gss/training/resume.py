"""Whether a stage may be resumed: the settings that decide its numbers, compared with those of its checkpoint."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gss.config import StageConfig
from gss.training.checkpoint import CheckpointError, list_checkpoints, load_metadata, newest_checkpoint

# The first two change when files are written, not the numbers. The batch is the same for any number of processes; only
# dropout and batch statistics, which each process has for itself, differ.
FREE_SETTINGS = frozenset({"config.checkpoint_every", "config.log_every", "processes"})


# Settings that older checkpoints do not record, and the values that they were trained with.
ADDED_SETTINGS = {"config.min_learning_rate": 0.0, "config.warmup_ratio": 1e-6}


class ResumeMismatch(ValueError):
    """The run directory holds a stage trained with other settings."""


def stage_identity(
    stage: str,
    config: StageConfig,
    *,
    seed: int,
    samples: int,
    processes: int,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that decides the numbers of a stage, as plain JSON values (tuples become lists).

    `inputs` are further sections of JSON values: what the caller's module and data are made from.
    """
    settings = dataclasses.asdict(config)
    identity = {"stage": stage, "seed": seed, "dataset samples": samples, "processes": processes, "config": settings}
    plain: dict[str, Any] = json.loads(json.dumps({**identity, **(inputs or {})}))
    return plain


def stage_folder(run: Path, stage: str) -> Path:
    """The folder of a stage's checkpoints."""
    return run / "checkpoints" / stage


def final_weights(folder: Path) -> Path:
    """The weights of a finished stage in its folder."""
    return folder / "final.safetensors"


def has_begun(folder: Path) -> bool:
    """Whether a stage folder holds anything that was trained, damaged or not."""
    return final_weights(folder).exists() or bool(list_checkpoints(folder)) or any(folder.glob("*.damaged"))


def check_stage(folder: Path, identity: Mapping[str, Any]) -> int:
    """Check that the stage in `folder`, finished or not, may continue as `identity`. Changes nothing.

    Returns:
        The number of steps of its final weights, 0 if there are none.

    Raises:
        ResumeMismatch: a setting has changed.
        CheckpointError: there is no readable checkpoint to continue from.
    """
    final, finished = final_weights(folder), 0
    if final.exists():
        metadata = load_metadata(final)
        if "identity" not in metadata:
            raise CheckpointError(f"{final}: no record of its training; remove it to rebuild it from the checkpoint")
        saved = json.loads(metadata["identity"])
        check_resumable(saved, identity, final)
        finished = int(saved["config"]["steps"])
        if finished == identity["config"]["steps"]:
            return finished
    newest = newest_checkpoint(folder, mmap=True)
    if newest is not None:
        check_resumable(newest.state["identity"], identity, newest.path)
    done = 0 if newest is None else int(newest.state["step"])
    if done < finished:
        raise CheckpointError(
            f"{final} was trained for {finished} steps; going on to {identity['config']['steps']} needs the checkpoint "
            f"of that step, and {folder} has {'none' if done == 0 else f'only step {done}'}"
        )
    return finished


def check_resumable(saved: Mapping[str, Any], current: Mapping[str, Any], where: Path) -> None:
    """Compare two `stage_identity` values. `config.steps` may grow; `FREE_SETTINGS` may change; nothing else may.

    A section that only one side has cannot be compared; a warning names those that the checkpoint lacks.

    Raises:
        ResumeMismatch: naming every setting that changed, with both values.
    """
    unrecorded = sorted(current.keys() - saved.keys())
    if unrecorded:
        warnings.warn(f"{where} does not record {', '.join(unrecorded)}: changes there go unnoticed", stacklevel=2)
    shared = saved.keys() & current.keys()
    before, now = (_flatten({key: side[key] for key in shared}) for side in (saved, current))
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, ADDED_SETTINGS.get(key)), now.get(key)
        if old == new or key in FREE_SETTINGS:
            continue
        if key == "config.steps" and old is not None and new is not None and new > old:
            continue
        note = " (steps may grow, not shrink)" if key == "config.steps" else ""
        changed.append(f"  {key}: was {old!r}, now {new!r}{note}")
    if changed:
        raise ResumeMismatch(
            f"{where} was trained with other settings and cannot be continued:\n"
            + "\n".join(changed)
            + f"\nrestore them, remove {where.parent} to train this stage again, or train into a new run directory"
        )


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item})
    return flat
