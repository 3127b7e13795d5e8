"""Whole trainings as commands of `gss`: train, evaluate and reconstruct a case, several cases at a time, and collect.

A case is a recipe with overrides. Each command is a process of its own. Finished commands are skipped and unfinished
trainings resumed, so the same command line goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gss.io.files import write_text
from gsskernels import info

COMMAND = (sys.executable, "-c", "import sys; from gss.cli import main; sys.exit(main())")


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        name: of the run folder, without the seed.
        overrides: `key.path=value` words of the recipe.
        base: the case whose run of the same seed this one starts from, or an empty text.
        scores: the commands that score it, of "evaluate" (needs a trained prior or twin) and "ceiling" (a tokenizer).
    """

    name: str
    recipe: str
    seed: int
    overrides: tuple[str, ...] = ()
    base: str = ""
    scores: tuple[str, ...] = ("evaluate", "ceiling")


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that all studies share."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("data", type=Path)
    found.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    found.add_argument("--out", type=Path, required=True, help="JSON file for the rows")
    found.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    found.add_argument("--only", nargs="+", metavar="NAME", help="these cases only")
    found.add_argument("--jobs", type=int, default=1, help="cases at a time (default: 1)")
    found.add_argument("--threads", type=int, default=1, help="threads of a case (default: 1)")
    found.add_argument("overrides", nargs="*", metavar="key.path=value", help="of every recipe; before --seeds, --only")
    return found


def study(cases: Sequence[Case], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs the cases and writes their rows as they finish. Raises SystemExit with the failures at the end."""
    unknown = set(given.only or ()) - {case.name for case in cases}
    if unknown:
        raise SystemExit(f"--only: no case is named {', '.join(sorted(unknown))}")
    cases = [case for case in cases if not given.only or case.name in given.only]
    given.runs.mkdir(parents=True, exist_ok=True)
    done: dict[Case, Future[None]] = {}
    rows: list[dict[str, Any]] = []
    failed = []
    with ThreadPoolExecutor(given.jobs) as pool:
        # the pool starts its work in order, so a case waits only for one that has begun before it
        for case in sorted(cases, key=lambda case: bool(case.base)):
            bases = [done[c] for c in done if (c.name, c.seed) == (case.base, case.seed)]
            done[case] = pool.submit(_run, case, given, bases)
        order = {future: case for case, future in done.items()}
        for future in as_completed(order):
            if (error := future.exception()) is not None:
                failed.append(f"{order[future].name}, seed {order[future].seed}: {error}")
            finished = [case for case in cases if done[case].done() and not done[case].exception()]
            rows = [row(case, folder(case, given)) for case in finished]
            content = {"machine": info.collect(), "jobs": given.jobs, "runs": rows}
            write_text(given.out, json.dumps(content, indent=1) + "\n")
    if failed:
        raise SystemExit("\n".join(failed))
    return rows


def folder(case: Case, given: argparse.Namespace) -> Path:
    return given.runs / f"{case.name}-{case.seed}"


def _run(case: Case, given: argparse.Namespace, bases: list[Future[None]]) -> None:
    for base in bases:
        base.result()
    run = folder(case, given)
    words = ["--recipe", case.recipe, "--seed", str(case.seed), "--resume", *case.overrides, *given.overrides]
    if case.base:
        words.append(f"start_from={given.runs / f'{case.base}-{case.seed}'}")
    if not (run / "config.json").exists():  # the last file of a run
        _command(run, "train", ["--data", str(given.data), "--out", str(run), *words], given)
    for name in case.scores:
        file = run / f"{name}.json"
        if not file.exists():
            more = ["--calibration"] if name == "evaluate" else []
            _command(run, name, [str(run), "--data", str(given.data), "--json", str(file), *more], given)


def _command(run: Path, name: str, words: list[str], given: argparse.Namespace) -> None:
    """Raises RuntimeError with the end of the output of a command that fails."""
    start, log = time.monotonic(), run.with_name(f"{run.name}-{name}.log")
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    with log.open("w") as file:
        done = subprocess.run([*COMMAND, name, *words], stdout=file, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        raise RuntimeError(f"{log}: ended with {done.returncode}\n{log.read_text()[-2000:]}")
    print(f"{run.name}: {name} took {time.monotonic() - start:.0f} s", flush=True)


def row(case: Case, run: Path) -> dict[str, Any]:
    """The scores of a finished case. Minutes are steps over the median rate, so that pauses do not count."""
    versions = json.loads((run / "versions.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    stages = {}
    for stage in dict.fromkeys(line["stage"] for line in lines):
        rates = [line["it_per_s"] for line in lines if line["stage"] == stage and line["it_per_s"]]
        steps = sum(line["stage"] == stage for line in lines)
        stages[stage] = {"steps": steps, "it_per_s": statistics.median(rates)} if rates else {"steps": steps}
    found: dict[str, Any] = {"name": case.name, "recipe": case.recipe, "seed": case.seed, "stages": stages}
    found |= {"overrides": list(case.overrides), "torch": versions["packages"]["torch"]}
    for name in case.scores:
        scores = json.loads((run / f"{name}.json").read_text())
        found[name] = {key: value for key, value in scores.items() if not isinstance(value, list)}
    return found


def by_name(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the same case, one a seed."""
    return {name: [r for r in rows if r["name"] == name] for name in dict.fromkeys(r["name"] for r in rows)}


def percent(rows: list[dict[str, Any]], score: str, key: str) -> str:
    """A score of every seed, such as "57.9 / 56.1"; a dash where a case has none."""
    return " / ".join(f"{100 * r[score][key]:.1f}" if score in r else "-" for r in rows)
