"""Whole trainings on CamVid: every variant and the discriminative twin, several seeds, scored end to end.

    python benchmarks/camvid_study.py DATA --runs runs/camvid --out benchmarks/results/camvid_study.json --jobs 2

A case is a recipe and a seed: `gss train`, `gss evaluate --calibration` on val, and `gss ceiling`, each in a process of
its own, `--jobs` cases at a time. Finished commands are skipped and unfinished trainings resumed, so that the same line
goes on where it was stopped. GSS-FT and FT-W differ from camvid-small by the stage of X^-1 alone, which learns from
labels: they start from the finished run of the same seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.collect_runs import row
from gss.io.files import write_text
from gsskernels import info

RECIPES = (
    "camvid-small",
    "camvid-small-twin",
    "camvid-small-ff-r",
    "camvid-small-tf",
    "camvid-small-tt",
    "camvid-small-ft",
    "camvid-small-ft-w",
)
BUILT_ON = {"camvid-small-ft": "camvid-small", "camvid-small-ft-w": "camvid-small"}
COMMAND = (sys.executable, "-c", "import sys; from gss.cli import main; sys.exit(main())")


class Case:
    """One recipe and one seed, with the folder of its run."""

    def __init__(self, recipe: str, seed: int, arguments: argparse.Namespace) -> None:
        self.recipe, self.seed, self.arguments = recipe, seed, arguments
        self.run = self.folder(recipe)
        self.has_tokenizer = not recipe.endswith("-twin")

    def folder(self, recipe: str) -> Path:
        return self.arguments.runs / f"{recipe}-{self.seed}"

    def train_and_score(self) -> None:
        """Raises RuntimeError with the end of the output of a command that fails."""
        data = ["--data", str(self.arguments.data)]
        device = ["--device", self.arguments.device] if self.arguments.device else []
        if not self.trained():
            self.command("train", ["train", *data, "--out", str(self.run), *self.settings()])
        if not (self.run / "val.json").exists():
            self.command("evaluate", ["evaluate", str(self.run), *data, *device, "--calibration", "--json",
                                      str(self.run / "val.json")])  # fmt: skip
        if self.has_tokenizer and not (self.run / "ceiling.json").exists():
            self.command("ceiling", ["ceiling", str(self.run), *data, *device, "--json",
                                     str(self.run / "ceiling.json")])  # fmt: skip

    def settings(self) -> list[str]:
        chosen = ["--recipe", self.recipe, "--seed", str(self.seed), "--resume", *self.arguments.overrides]
        if self.recipe in BUILT_ON:
            chosen += [f"start_from={self.folder(BUILT_ON[self.recipe])}", "stages=[inverse]"]
        return chosen

    def command(self, name: str, words: Sequence[str]) -> None:
        start = time.monotonic()
        log = self.arguments.runs / f"{self.run.name}-{name}.log"
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.arguments.threads)}
        with log.open("w") as file:
            done = subprocess.run([*COMMAND, *words], stdout=file, stderr=subprocess.STDOUT, env=environment)
        if done.returncode:
            raise RuntimeError(f"{log}: ended with {done.returncode}\n{log.read_text()[-2000:]}")
        print(f"{self.run.name}: {name} took {time.monotonic() - start:.0f} s", flush=True)

    def trained(self) -> bool:
        """config.json is what a run gets last."""
        return (self.run / "config.json").exists()

    def finished(self) -> bool:
        scores = ["val.json", "ceiling.json"] if self.has_tokenizer else ["val.json"]
        return all((self.run / name).exists() for name in scores)

    def scores(self) -> dict[str, Any]:
        found = row(self.run, self.run / "val.json")
        found["confidence"] = json.loads((self.run / "val.json").read_text())["confidence"]
        if self.has_tokenizer:
            ceiling = json.loads((self.run / "ceiling.json").read_text())
            kept = ("mIoU", "mIoU_full_size", "codes_used", "perplexity", "tokens_per_image")
            found["ceiling"] = {key: ceiling[key] for key in kept}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of a case (default: 1)")
    parser.add_argument("--device", help="to evaluate on; training takes a GPU where there is one")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="of every recipe; before --seeds and --recipes"
    )
    arguments = parser.parse_intermixed_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    cases = {(recipe, seed): Case(recipe, seed, arguments) for recipe in arguments.recipes for seed in arguments.seeds}
    for (recipe, seed), case in cases.items():
        base = BUILT_ON.get(recipe)
        if base is not None and (base, seed) not in cases and not Case(base, seed, arguments).trained():
            parser.error(f"--recipes: {recipe} starts from {base}, which is neither named nor in {case.folder(base)}")
    failed = {}
    for key, error in measure(cases, arguments):
        if error is not None:
            failed[key] = error
        rows = [case.scores() for case in cases.values() if case.finished()]
        write_text(
            arguments.out,
            json.dumps({"machine": info.collect(), "jobs": arguments.jobs, "runs": rows}, indent=1) + "\n",
        )
    show(rows)
    if failed:
        raise SystemExit("\n".join(f"{recipe}, seed {seed}: {error}" for (recipe, seed), error in failed.items()))


def measure(
    cases: dict[tuple[str, int], Case], arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, int], BaseException | None]]:
    """Each case as it ends, with what went wrong; what a case starts from comes before it."""
    done: dict[tuple[str, int], Future[None]] = {}

    def after(base: Future[None] | None, work: Callable[[], None]) -> None:
        if base is not None:
            base.result()
        work()

    # A pool starts its work in order, so a case waits only for one that has begun before it.
    order = sorted(cases, key=lambda key: key[0] in BUILT_ON)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for recipe, seed in order:
            base = done.get((BUILT_ON[recipe], seed)) if recipe in BUILT_ON else None
            done[recipe, seed] = pool.submit(after, base, cases[recipe, seed].train_and_score)
        keys = {future: key for key, future in done.items()}
        for future in as_completed(keys):
            yield keys[future], future.exception()


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("recipe", "seeds", "mIoU", "mean", "mAcc", "aAcc", "ceiling", "ECE before", "ECE after", "minutes")
    for recipe in dict.fromkeys(found["recipe"] for found in rows):
        own = [found for found in rows if found["recipe"] == recipe]

        def values(read: Callable[[dict[str, Any]], float | None], own: list[dict[str, Any]] = own) -> str:
            found = [read(row) for row in own]
            return " / ".join("-" if value is None else f"{value:.1f}" for value in found)

        table.add_row(
            recipe,
            " / ".join(str(found["seed"]) for found in own),
            values(lambda found: 100 * found["mIoU"]),
            f"{100 * statistics.fmean(found['mIoU'] for found in own):.1f}",
            values(lambda found: 100 * found["mAcc"]),
            values(lambda found: 100 * found["aAcc"]),
            values(lambda found: 100 * found["ceiling"]["mIoU_full_size"] if "ceiling" in found else None),
            values(lambda found: 100 * fitted_error(found, "before")),
            values(lambda found: 100 * fitted_error(found, "after")),
            values(lambda found: sum(stage["minutes"] for stage in found["stages"].values())),
        )
    Console(width=170).print(table)


def fitted_error(found: dict[str, Any], when: str) -> float:
    """Of the score that the run's confidence is fitted on."""
    confidence = found["confidence"]
    error: float = confidence["scores"][confidence["score"]]["ece"][when]["width"]
    return error


if __name__ == "__main__":
    main()
