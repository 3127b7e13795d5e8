"""Training that survives: a resumable loop whose every step is a pure function of (seed, step).

    from gss.training import train_stage
    result = train_stage("prior", module, dataset, recipe.prior_stage, run_dir, seed=0)

The names below load on first use, so that importing the package costs no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gss.training.checkpoint import CheckpointError
    from gss.training.loop import train_stage
    from gss.training.metrics_log import MetricsLog, read_metrics
    from gss.training.outcome import StageResult, TrainingDiverged, TrainingInterrupted
    from gss.training.progress import Progress
    from gss.training.resume import ResumeMismatch
    from gss.training.schedule import learning_rate_at

_MODULE_OF = {
    "CheckpointError": "checkpoint",
    "MetricsLog": "metrics_log",
    "Progress": "progress",
    "ResumeMismatch": "resume",
    "StageResult": "outcome",
    "TrainingDiverged": "outcome",
    "TrainingInterrupted": "outcome",
    "learning_rate_at": "schedule",
    "read_metrics": "metrics_log",
    "train_stage": "loop",
}

__all__ = [
    "CheckpointError",
    "MetricsLog",
    "Progress",
    "ResumeMismatch",
    "StageResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "learning_rate_at",
    "read_metrics",
    "train_stage",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
