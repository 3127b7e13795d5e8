"""Measurements as rows of data, and the JSON file that a run writes."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import gsskernels
from benchmarks.kernels.cases import Case, work
from benchmarks.kernels.machine import isas
from benchmarks.kernels.providers import Provider
from benchmarks.kernels.timing import Timed

SCHEMA = 1
PACKAGES = {"faiss": "faiss-cpu", "opencv": "opencv-python-headless"}


def row(
    case: Case, provider: Provider, timed: Timed, threads: int, roofs: dict[str, float], packages: dict[str, Any]
) -> dict[str, Any]:
    """One provider at one case. Times are seconds a call; rates are of the work that an ideal implementation does."""
    ideal, times = work(case), sorted(timed.times)
    median = statistics.median(times)
    rates = {"copy": ideal.bytes / median / 1e9, "mm": ideal.flops / median / 1e9}
    limit = roofs["copy_gb_per_s"] if ideal.roof == "copy" else roofs[f"mm_{ideal.dtype}_gflop_per_s"]
    library = provider.library
    version = gsskernels.__version__ if library == "gsskernels" else packages.get(PACKAGES.get(library, library))
    return {
        "op": case.op,
        "case": case.label,
        "study": case.study,
        "at": case.at,
        "sizes": case.sizes,
        "provider": provider.name,
        "role": provider.role,
        "library": library,
        "version": version,
        "backend": provider.backend,
        "isa": provider.isa or (isas()[-1] if provider.backend == "native" else None),
        "threads": threads,
        "dtype": case.sizes.get("dtype", "uint8"),
        "median_s": median,
        "p20": _percentile(times, 0.2),
        "p80": _percentile(times, 0.8),
        "best_s": times[0],
        "rounds": len(times),
        "bytes": ideal.bytes,
        "flops": ideal.flops,
        "gb_per_s": rates["copy"],
        "gflop_per_s": rates["mm"] if ideal.flops else None,
        "roof": ideal.roof,
        "percent_of_roof": 100 * rates[ideal.roof] / limit,
        "timing": timed.how,
        "calls_a_round": timed.calls,
        **({"note": timed.note} if timed.note else {}),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Rows sorted by case and time, one entry of a list a line, so that two runs can be compared; replaces the file in
    one step."""
    order = {case: i for i, case in enumerate(dict.fromkeys((r["op"], r["study"], r["case"]) for r in content["rows"]))}
    rows = sorted(content["rows"], key=lambda r: (order[r["op"], r["study"], r["case"]], r["threads"], r["median_s"]))
    lists = {key: value for key, value in content.items() if isinstance(value, list) and key != "rows"}
    head = {key: value for key, value in content.items() if not isinstance(value, list)}
    text = json.dumps(rounded({"schema": SCHEMA, **head}), indent=1)[:-2]
    for key, entries in (*lists.items(), ("rows", rows)):
        text += f',\n "{key}": [\n  ' + ",\n  ".join(json.dumps(rounded(entry)) for entry in entries) + "\n ]"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text + "\n}\n")
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    """Raises ValueError for a file of another schema."""
    content = json.loads(path.read_text())
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{path}: expected schema {SCHEMA}, got {content.get('schema')}: measure again")
    return content


def rounded(value: Any) -> Any:
    """Floats to five significant digits: more would be noise in every diff."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return value


def _percentile(times: list[float], share: float) -> float:
    """The measured value at this share of the sorted times."""
    return times[round(share * (len(times) - 1))]
