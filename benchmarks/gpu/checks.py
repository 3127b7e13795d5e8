"""A check: a named piece of work that returns what it measured, or says what is wrong. Nothing stops at a failure."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu.place import STICKY

Result = dict[str, Any]


class Wrong(AssertionError):
    """An answer that breaks the contract; the message has what is needed to look at it again."""


class Absent(RuntimeError):
    """A check that cannot run here, with the reason."""


@dataclass(frozen=True)
class Check:
    """`group` names what shares compiled kernels: the checks of a group run in one process."""

    group: str
    name: str
    run: Callable[[], dict[str, Any] | None]

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def perform(check: Check) -> Result:
    """Runs a check; status is "pass", "wrong" (an answer), "error" (an exception) or "absent"."""
    start, measured, detail, sticky = time.perf_counter(), None, "", False
    try:
        measured = check.run()
        status = "pass"
    except Wrong as wrong:
        status, detail = "wrong", str(wrong)
    except Absent as absent:
        status, detail = "absent", str(absent)
    except Exception as error:
        status, detail = "error", _shortened("".join(traceback.format_exception(error)))
        sticky = bool(STICKY.search(detail)) or isinstance(error, getattr(torch, "AcceleratorError", ()))
    if torch.cuda.is_available() and not sticky:  # other processes need memory beside this one
        gc.collect()
        torch.cuda.empty_cache()
    result: Result = {"id": check.id, "status": status, "seconds": time.perf_counter() - start}
    result |= {"detail": detail} if detail else {}
    result |= {"measured": measured} if measured else {}
    return result | ({"sticky": True} if sticky else {})


def _shortened(text: str, head: int = 200, tail: int = 2500) -> str:
    return text if len(text) <= head + tail else f"{text[:head]}\n...\n{text[-tail:]}"


def summary(results: Iterable[Result]) -> dict[str, int]:
    counts = {"pass": 0, "wrong": 0, "error": 0, "absent": 0, "not reached": 0}
    for result in results:
        counts[result["status"]] += 1
    return counts
