"""How a stage ends: finished, diverged, or interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class TrainingDiverged(RuntimeError):
    """The loss or the gradient became NaN or infinite. Nothing was written after the last good checkpoint.

    Attributes: `stage`, `step` (1-based, the step that failed), `values` (its scalars), `checkpoint` (path or None).
    """

    def __init__(self, stage: str, step: int, values: Mapping[str, float], checkpoint: Path | None) -> None:
        self.stage, self.step, self.values, self.checkpoint = stage, step, dict(values), checkpoint
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        last = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been written yet"
        super().__init__(
            f"stage {stage!r} diverged at step {step}: {shown}; {last}. "
            "Try a lower learning_rate, a longer warmup_steps, or set clip_norm"
        )


class TrainingInterrupted(KeyboardInterrupt):
    """Stopped by a signal after a whole step, with a checkpoint. Attributes: `stage`, `step`, `checkpoint`."""

    def __init__(self, stage: str, step: int, steps: int, checkpoint: Path) -> None:
        self.stage, self.step, self.checkpoint = stage, step, checkpoint
        super().__init__(
            f"stage {stage!r} stopped after step {step} of {steps}; everything is in {checkpoint}, "
            "and the run can be resumed from there"
        )


@dataclass
class StageResult:
    """What a finished stage left. `values` are the last step's scalars, empty if the stage had finished before."""

    stage: str
    steps: int
    weights: Path
    skipped: bool = False
    seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
