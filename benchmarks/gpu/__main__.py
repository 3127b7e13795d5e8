"""Everything that a GPU has to show, in one command of under ten minutes.

    make check-gpu                                            # everything, on a GPU
    python -m benchmarks.gpu --phases correctness,bench --budget 300
    python -m benchmarks.gpu --phases correctness --only nearest_code/float32
    python -m benchmarks.gpu --dry-run                        # every phase on a CPU, tiny; its times mean nothing

Phases: correctness, warm (compiles what the benchmark needs, in parallel), bench, integration, sanitizer, tests (those
of the Triton backend), report.
Results are written after each phase and each case: benchmarks/results/kernels-gpu.json for a whole run, runs/bench for
a part or a dry run, or `--out DIR`. Nothing needs to be installed but torch and triton. The exit code is 1 if an answer
was wrong or a check failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("correctness", "warm", "bench", "integration", "sanitizer", "tests", "report")
# Seconds a phase may take of 540; what one does not use goes to the benchmark.
MOST = {"correctness": 130, "warm": 60, "integration": 60, "sanitizer": 60, "tests": 60, "report": 5}
TOTAL = 540


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phases", default=",".join(PHASES), help="comma-separated")
    parser.add_argument("--budget", type=float, default=TOTAL, help="seconds for all phases together")
    parser.add_argument("--jobs", type=int, default=None, help="processes that check at once")
    parser.add_argument("--only", default="", help="checks whose id contains this")
    parser.add_argument("--ops", default="", help="comma-separated words; benchmarks of operations that contain one")
    parser.add_argument("--backend", default=None, help="of gsskernels, in place of triton")
    parser.add_argument("--out", type=Path, default=None, help="folder for kernels-gpu.json")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    named = {name for name in given.phases.split(",") if name}
    if unknown := named - set(PHASES):
        parser.error(f"no such phase: {', '.join(sorted(unknown))}; there are {', '.join(PHASES)}")
    given.phases = [name for name in PHASES if name in named]  # in the order they run
    return given


class Run:
    """The phases of one run and the file they write."""

    def __init__(self, given: argparse.Namespace) -> None:
        from benchmarks.gpu import bench, place, telemetry, workers

        self.given = given
        self.place = place.find(given.dry_run, given.backend)
        self.start = time.time()
        index = None if given.dry_run else self.place.device.index
        self.telemetry = telemetry.Telemetry(index)
        self.machine = place.describe(self.place)
        self.bench = bench.Bench(self.place, self.telemetry, self.machine["packages"])
        self.workers = workers
        self.phases: dict[str, dict[str, Any]] = {}
        self.checks: list[dict[str, Any]] = []
        cores = self.machine["cores"]
        self.jobs = given.jobs if given.jobs is not None else (1 if given.dry_run else max(1, min(12, cores - 2)))
        whole = not (given.dry_run or given.only or given.ops or set(given.phases) != set(PHASES))
        folder = given.out or ROOT / ("benchmarks/results" if whole else "runs/bench")
        self.path = folder / "kernels-gpu.json"
        self.documents = whole and given.out is None

    def deadline(self, phase: str) -> float:
        """Its own share; the benchmark leaves what the phases after it may take."""
        end = self.start + self.given.budget
        share = self.given.budget / TOTAL
        later = self.given.phases[self.given.phases.index(phase) + 1 :]
        reserved = share * sum(MOST.get(name, 0) for name in later)
        if phase == "bench":
            return end - reserved
        alone = len(self.given.phases) == 1
        return end if alone else min(end, time.time() + share * MOST[phase])

    def run(self) -> int:
        for name in self.given.phases:
            start = time.time()
            phase = self.phases[name] = {"status": "started", "seconds": 0.0}
            self.write()
            try:
                phase |= getattr(self, f"_{name}")(self.deadline(name))
                phase["status"] = "done"
            except Exception:
                phase["status"] = "failed"
                detail = traceback.format_exc()
                self.checks.append({"id": f"phase {name}", "status": "error", "seconds": 0.0, "detail": detail})
            phase["seconds"] = time.time() - start
            self.write()
            print(f"{name}: {phase['status']} after {phase['seconds']:.1f} s {phase.get('summary', '')}", flush=True)
        from benchmarks.gpu.report import short

        print(f"\n{short(self.content())}\n\n{self.path}")
        return int(any(check["status"] in ("wrong", "error") for check in self.checks))

    def content(self) -> dict[str, Any]:
        from benchmarks.gpu.promises import verdicts

        return {
            "machine": self.machine,
            "seconds": round(time.time() - self.start),
            "phases": self.phases,
            "roofs": self.bench.roofs,
            "roofs_telemetry": self.bench.roofs_telemetry,
            "telemetry": {"missing": self.telemetry.missing} if self.telemetry.missing else self.telemetry.device,
            "promises": verdicts(self.bench.rows),
            "checks": self.checks,
            "absent": self.bench.absent,
            "rows": self.bench.rows,
        }

    def write(self) -> None:
        from benchmarks.kernels import results

        results.write(self.path, self.content())

    def _checked(self, phase: str, deadline: float) -> dict[str, Any]:
        from benchmarks.gpu.checks import summary

        found = self.workers.run(phase, self.place, self.jobs, deadline, self.given.only)
        self.checks += found
        return {"summary": summary(found)}

    def _correctness(self, deadline: float) -> dict[str, Any]:
        return self._checked("correctness", deadline)

    def _integration(self, deadline: float) -> dict[str, Any]:
        return self._checked("integration", deadline)

    def _warm(self, deadline: float) -> dict[str, Any]:
        """Its failures are the benchmark's to report."""
        from benchmarks.gpu.checks import summary

        if self.place.dry:
            return {"summary": summary([])}
        jobs = max(1, self.jobs // 2)  # of full size, so fewer at once
        return {"summary": summary(self.workers.run("warm", self.place, jobs, deadline))}

    def _bench(self, deadline: float) -> dict[str, Any]:
        from benchmarks.gpu.cases import cases

        found = cases(self.place, [word for word in self.given.ops.split(",") if word])
        return {"cases": len(found), "cases_not_reached": self.bench.run(found, deadline, self.write)}

    def _sanitizer(self, deadline: float) -> dict[str, Any]:
        from benchmarks.gpu import sanitizer
        from benchmarks.gpu.checks import summary

        found = sanitizer.run(self.place, deadline)
        self.checks += found
        return {"summary": summary(found)}

    def _tests(self, deadline: float) -> dict[str, Any]:
        from benchmarks.gpu import suite
        from benchmarks.gpu.checks import summary

        found = suite.run(self.place, deadline, self.jobs)
        self.checks += found
        return {"summary": summary(found)}

    def _report(self, deadline: float) -> dict[str, Any]:
        """Into docs/performance.md after a whole run in place; elsewhere the data is all there is."""
        if self.documents:
            from benchmarks.gpu import report

            report.main([str(self.path)])
        return {}


def main(arguments: list[str] | None = None) -> int:
    given = options(arguments)
    if given.dry_run:  # before anything imports triton
        os.environ.setdefault("TRITON_INTERPRET", "1")
    from benchmarks.gpu.place import NoGpu

    try:
        run = Run(given)
    except NoGpu as reason:
        print(f"nothing to check: {reason}", file=sys.stderr)
        return 2
    return run.run()


if __name__ == "__main__":
    sys.exit(main())
