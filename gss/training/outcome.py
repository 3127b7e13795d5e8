"""How a stage ends: finished, diverged, or interrupted by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any


@dataclass
class StageResult:
    """A finished stage. `values` are the scalars of its last step, empty if the stage had finished before."""

    stage: str
    steps: int
    weights: Path
    skipped: bool = False
    seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)


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


class InterruptFlag:
    """Context manager: the first SIGINT or SIGTERM sets `requested`, a second SIGINT raises KeyboardInterrupt at once.

    Does nothing outside the main thread, where Python allows no signal handlers.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> InterruptFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
