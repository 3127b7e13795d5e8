"""Checks in several processes at once: compiling kernels takes most of their time and one core each.

A process that ends early, killed by a fault or left after an error that no later CUDA call survives, costs the check it
was at; another process goes on with the rest. Results are appended to a file a line each, so nothing finished is lost.

    python -m benchmarks.gpu.workers PHASE --part 2/6 --out FILE     # what each process runs
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.gpu.checks import Check, Result, perform
from benchmarks.gpu.place import Place, find

ROOT = Path(__file__).resolve().parents[2]
GRACE = 20.0  # seconds past the deadline for a check to end by itself
PHASES = {
    "correctness": "benchmarks.gpu.correctness",
    "warm": "benchmarks.gpu.bench",
    "integration": "benchmarks.gpu.integration",
}


def checks_of(phase: str, place: Place, only: str = "") -> list[Check]:
    """Every check of a phase whose id contains `only`, in a fixed order; nothing is computed yet."""
    found = [check for check in import_module(PHASES[phase]).checks(place) if only in check.id]
    assert len({check.id for check in found}) == len(found), "two checks share an id"
    return found


def run(phase: str, place: Place, jobs: int, deadline: float, only: str = "") -> list[Result]:
    """Results of every check, in order; those that were not reached in time say so."""
    checks = checks_of(phase, place, only)
    if jobs < 2:
        finished = _here(checks, deadline)
    else:
        with tempfile.TemporaryDirectory(prefix="gsskernels-checks-") as folder:
            finished = _in_processes(phase, place, jobs, deadline, only, Path(folder))
    missing: Result = {"status": "not reached", "seconds": 0.0}
    return [finished.pop(c.id, {"id": c.id, **missing}) for c in checks] + list(finished.values())


def _here(
    checks: list[Check],
    deadline: float,
    started: Callable[[str], Any] = lambda check: None,
    ended: Callable[[Result], Any] = lambda result: None,
) -> dict[str, Result]:
    finished: dict[str, Result] = {}
    for check in checks:
        if time.time() > deadline:
            break
        started(check.id)
        finished[check.id] = result = perform(check)
        ended(result)
        if result.get("sticky"):
            break
    return finished


class _Process:
    """One process with its share of the groups, started again without what it had done when it ends early."""

    def __init__(self, command: list[str], file: Path, environment: dict[str, str] | None = None) -> None:
        self.command, self.file, self.environment = command, file, {**os.environ, **(environment or {})}
        self.results: dict[str, Result] = {}
        self.complete = False
        self._start()

    def _start(self) -> None:
        self.file.unlink(missing_ok=True)
        skip = self.file.with_suffix(".skip")
        skip.write_text("\n".join(self.results))
        self.log = self.file.with_suffix(".log")
        with self.log.open("w") as log:
            command = [*self.command, "--out", str(self.file), "--skip", str(skip)]
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def poll(self) -> bool:
        """Whether it still runs, after starting it again if it ended before its time."""
        code = self.process.poll()
        if code is None:
            return True
        at = self._collect()
        if self.complete:
            return False
        if at is None:  # it never began a check: starting it again would change nothing
            detail = f"it ended with {code} before its first check\n{self.log.read_text(errors='replace')[-1500:]}"
            name = f"checking process {self.file.stem}"
            self.results[name] = {"id": name, "status": "error", "seconds": 0.0, "detail": detail}
            return False
        if at not in self.results:
            detail = f"the process ended with {code} in this check\n{self.log.read_text(errors='replace')[-1500:]}"
            self.results[at] = {"id": at, "status": "error", "seconds": 0.0, "detail": detail}
        self._start()
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        at = self._collect()
        if at is not None and at not in self.results:
            detail = "stopped: it ran past the end of the phase"
            self.results[at] = {"id": at, "status": "not reached", "seconds": 0.0, "detail": detail}

    def _collect(self) -> str | None:
        """Takes in what the process wrote; returns the check it began last."""
        began = None
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        for line in lines:
            entry = _parsed(line)
            if "began" in entry:
                began = entry["began"]
            elif "id" in entry:
                self.results[entry["id"]] = entry
            self.complete |= "complete" in entry
        return began


def _parsed(line: str) -> dict[str, Any]:
    """A line, or nothing where the process died while writing it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}


def _in_processes(phase: str, place: Place, jobs: int, deadline: float, only: str, folder: Path) -> dict[str, Result]:
    threads = {"OMP_NUM_THREADS": "2", "TORCHINDUCTOR_COMPILE_THREADS": "1"}  # the processes share the cores
    command = [sys.executable, "-m", "benchmarks.gpu.workers", phase, "--deadline", str(deadline), "--only", only]
    command += ["--dry-run"] if place.dry else []
    command += ["--backend", place.backend]
    parts = [[*command, "--part", f"{i}/{jobs}"] for i in range(jobs)]
    processes = [_Process(part, folder / f"{i}.jsonl", threads) for i, part in enumerate(parts)]
    while any([process.poll() for process in processes]):
        if time.time() > deadline + GRACE:
            for process in processes:
                process.stop()
            break
        time.sleep(0.1)
    return {key: result for process in processes for key, result in process.results.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--deadline", type=float, default=float("inf"))
    parser.add_argument("--only", default="")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--backend")
    parser.add_argument("--skip", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    place = find(given.dry_run, given.backend)
    part, parts = map(int, given.part.split("/"))
    done = set(given.skip.read_text().splitlines()) if given.skip else set()
    checks = checks_of(given.phase, place, given.only)
    groups = list(dict.fromkeys(check.group for check in checks))[part::parts]
    mine = [check for check in checks if check.group in groups and check.id not in done]
    with given.out.open("a") as out:

        def write(entry: dict[str, Any]) -> None:
            out.write(json.dumps(entry) + "\n")
            out.flush()
            os.fsync(out.fileno())

        finished = _here(mine, given.deadline, lambda check: write({"began": check}), write)
        if len(finished) == len(mine) or time.time() > given.deadline:
            write({"complete": True})


if __name__ == "__main__":
    main()
