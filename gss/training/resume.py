"""What identifies a stage's run, and whether a checkpoint may be continued under today's settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from gss.config import StageConfig

# The first two change when something is written, never what is computed. The batch is the same for any number of
# processes; only dropout and batch statistics, which each process has of its own, differ then.
FREE_SETTINGS = frozenset({"checkpoint_every", "log_every", "processes"})


class ResumeMismatch(ValueError):
    """The run directory holds a stage trained with other settings."""


def stage_identity(stage: str, config: StageConfig, *, seed: int, samples: int, processes: int) -> dict[str, Any]:
    """Everything that decides the numbers of a stage, as plain JSON values (tuples become lists)."""
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    return {"stage": stage, "seed": seed, "dataset samples": samples, "processes": processes, "config": settings}


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item})
    return flat


def check_resumable(saved: Mapping[str, Any], current: Mapping[str, Any], where: str) -> None:
    """Compare two `stage_identity` values. `config.steps` may grow; `FREE_SETTINGS` may change; nothing else may.

    Raises:
        ResumeMismatch: naming every setting that changed, with both values.
    """
    before, now = _flatten(saved), _flatten(current)
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new or key.rsplit(".", 1)[-1] in FREE_SETTINGS:
            continue
        if key == "config.steps" and old is not None and new is not None and new > old:
            continue
        note = " (steps may grow, not shrink)" if key == "config.steps" else ""
        changed.append(f"  {key}: was {old!r}, now {new!r}{note}")
    if changed:
        raise ResumeMismatch(
            f"{where} was trained with other settings and cannot be continued:\n"
            + "\n".join(changed)
            + "\nrestore them, or train into a new run directory"
        )
