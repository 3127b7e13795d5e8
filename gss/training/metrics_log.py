"""metrics.jsonl, one JSON object a line and one line a step, and the speed of training in it."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from gss.io.files import write_text


def read_metrics(path: Path | str, stage: str | None = None) -> list[dict[str, Any]]:
    """The lines of a metrics file, or those of one stage. A last line cut short by a killed process is left out.

    Raises:
        ValueError: if a line other than the last is not JSON.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}:{number}: not a JSON object ({error})") from error
    return [record for record in records if stage is None or record.get("stage") == stage]


def _line(record: Mapping[str, Any]) -> str:
    # JSON has no NaN and no infinity
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


class MetricsLog:
    """Append-only log of one stage. Opening it drops the stage's lines past `after_step`: a resume repeats them."""

    def __init__(self, path: Path, stage: str, after_step: int) -> None:
        self.path = path
        self.stage = stage
        records = read_metrics(path)
        kept = [r for r in records if r.get("stage") != stage or r["step"] <= after_step]
        text = "".join(_line(record) for record in kept)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append the line of `step` (the number of steps done). It survives if the process is killed."""
        self._file.write(_line({"stage": self.stage, "step": step, **values}))
        self._file.flush()

    def sync(self) -> None:
        """Flush to the disk, so that a checkpoint written next is never ahead of the log."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class StepSpeed:
    """Steps a second over the last 50 steps, without the first 3, which pay for allocation, caches and compilation."""

    def __init__(self) -> None:
        self._steps = 0
        self._ends: deque[float] = deque(maxlen=51)

    def tick(self) -> None:
        """Call at the end of each step."""
        self._steps += 1
        if self._steps >= 3:
            self._ends.append(time.monotonic())

    @property
    def rate(self) -> float | None:
        """Steps a second, or None while too few steps were timed."""
        if len(self._ends) < 2 or self._ends[-1] <= self._ends[0]:
            return None
        return (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])

    def __str__(self) -> str:
        return "- it/s" if self.rate is None else f"{self.rate:.2f} it/s"
