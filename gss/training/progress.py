"""How far a stage is: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any

# The first steps pay for allocation, caches and compilation: they say nothing about the rest.
IGNORED_STEPS = 3
WINDOW = 50


class StepClock:
    """Steps a second over the last `WINDOW` steps, without the first `IGNORED_STEPS` of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = 0
        self._ends: deque[float] = deque(maxlen=WINDOW + 1)

    def tick(self) -> None:
        """Call at the end of each step."""
        self._seen += 1
        if self._seen >= IGNORED_STEPS:
            self._ends.append(self._clock())

    @property
    def rate(self) -> float | None:
        """Steps a second, or None while too few steps were timed."""
        if len(self._ends) < 2 or self._ends[-1] <= self._ends[0]:
            return None
        return (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])


def format_duration(seconds: float) -> str:
    """`75` -> `1:15`, `3675` -> `1:01:15`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Progress:
    """Shows stage, step, loss, steps a second and time left.

    Args:
        stream: where to; standard error by default, so that standard output stays free for results.
        enabled: False shows nothing (processes other than the first; tests).
    """

    def __init__(self, stream: IO[str] | None = None, *, enabled: bool = True) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.enabled = enabled
        self._stage = ""
        self._steps = 0
        self._log_every = 1
        self._bar: Any = None
        self._task: Any = None

    def start(self, stage: str, step: int, steps: int, log_every: int) -> None:
        """Begin a stage of `steps` of which `step` are done."""
        self._stage, self._steps, self._log_every = stage, steps, log_every
        if not self.enabled:
            return
        if step:
            self.message(f"{stage}: resuming after step {step} of {steps}")
        if self.stream.isatty():
            self._start_bar(step)

    def update(self, step: int, values: Mapping[str, float], rate: float | None) -> None:
        """After step `step` (1-based)."""
        if not self.enabled:
            return
        left = format_duration((self._steps - step) / rate) if rate else "-:--"
        speed = f"{rate:.2f} it/s" if rate else "- it/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=f"{values['loss']:.4f}", speed=speed, left=left)
        elif step % self._log_every == 0 or step == self._steps:
            self.message(f"{self._stage} {step}/{self._steps}  loss {values['loss']:.4f}  {speed}  {left} left")

    def message(self, text: str) -> None:
        """One line of text, above the bar if there is one."""
        if not self.enabled:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)

    def stop(self) -> None:
        """End the stage; also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_bar(self, step: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]}  {task.fields[left]} left"),
            console=Console(file=self.stream),
        )
        self._task = self._bar.add_task(
            self._stage, completed=step, total=self._steps, loss="-", speed="- it/s", left="-:--"
        )
        self._bar.start()
