"""Finished runs and their scores as one row of data each, and as the Markdown tables of docs/results.md.

    gss evaluate RUN --data DIR --split val --json RUN/val.json     # for each run first
    python benchmarks/collect_runs.py RUN [RUN ...] --out benchmarks/results/camvid.json

Training time is steps divided by the median rate of each stage, so that pauses and resumes do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import gss
from gss.io.files import write_text
from gss.training.metrics_log import read_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--scores", default="val.json", help="file in each run with its scores (default: val.json)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [row(run, run / arguments.scores) for run in arguments.runs]
    write_text(arguments.out, json.dumps({"machine": machine(), "runs": rows}, indent=2) + "\n")
    print(markdown(rows))


def row(run: Path, scores_file: Path) -> dict[str, Any]:
    scores = json.loads(scores_file.read_text())
    versions = json.loads((run / "versions.json").read_text())
    return {
        "run": run.name,
        "recipe": versions["recipe"],
        "seed": versions["seed"],
        "threads": versions["threads"],
        "torch": versions["packages"]["torch"],
        "parameters": sum(gss.load(run).num_parameters().values()),
        "stages": stages(run),
        "mIoU": scores["mIoU"],
        "mAcc": scores["mAcc"],
        "aAcc": scores["aAcc"],
        "IoU": {name: values["IoU"] for name, values in scores["per_class"].items()},
    }


def stages(run: Path) -> dict[str, dict[str, float]]:
    """Steps, median steps a second and the minutes they make, by stage."""
    found: dict[str, dict[str, float]] = {}
    lines = read_metrics(run / "metrics.jsonl")
    for stage in dict.fromkeys(line["stage"] for line in lines):
        own = [line for line in lines if line["stage"] == stage]
        rate = statistics.median(line["it_per_s"] for line in own if line["it_per_s"])
        found[stage] = {"steps": len(own), "it_per_s": rate, "minutes": len(own) / rate / 60}
    return found


def machine() -> dict[str, Any]:
    """The machine that collects, which should be the one that trained."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return {"cpu": model, "cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def markdown(rows: list[dict[str, Any]]) -> str:
    classes = list(rows[0]["IoU"])
    head = ["run", "seed", "parameters", "training", "mIoU", "mAcc", "aAcc", *classes]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for entry in rows:
        minutes = sum(stage["minutes"] for stage in entry["stages"].values())
        cells = [entry["recipe"], str(entry["seed"]), f"{entry['parameters'] / 1e6:.2f} M", f"{minutes:.0f} min"]
        cells += [f"{100 * entry[key]:.1f}" for key in ("mIoU", "mAcc", "aAcc")]
        cells += ["-" if entry["IoU"][name] is None else f"{100 * entry['IoU'][name]:.1f}" for name in classes]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
