"""Measurements as rows of data, and the file they go to."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

from benchmarks.kernels import threads
from benchmarks.kernels.cases import work
from benchmarks.kernels.machine import isas
from benchmarks.kernels.providers import MODULES
from benchmarks.kernels.schedule import Measurement

SCHEMA = 1
PACKAGES = {
    "faiss": "faiss-cpu",
    "opencv": "opencv-python-headless",
    **{name: name for name in MODULES if name != "opencv"},
}


def row(
    measured: Measurement,
    roofs: dict[str, dict[str, float]],
    packages: dict[str, Any],
    version: str,
    extra_peak_bytes: int | None,
) -> dict[str, Any]:
    """One provider at one case. Times are seconds a call; rates are of the work an ideal implementation would do."""
    case, provider, ideal = measured.case, measured.provider, work(measured.case)
    used = case.threads or threads.cores()
    median = statistics.median(measured.times)
    roof = roofs[str(used)]
    rates = {"copy": ideal.bytes / median / 1e9, "mm": ideal.flops / median / 1e9}
    limit = roof["copy_gb_per_s"] if ideal.roof == "copy" else roof[f"mm_{ideal.dtype}_gflop_per_s"]
    isa = provider.isa or (isas()[-1] if provider.backend == "native" else None)
    return {
        "op": case.op,
        "case": case.label,
        "study": case.study,
        "at": case.at,
        "sizes": case.sizes,
        "provider": provider.name,
        "role": provider.role,
        "library": provider.library,
        "version": version if provider.library == "gsskernels" else packages.get(_package(provider.library)),
        "backend": provider.backend,
        "isa": isa,
        "threads": used,
        "dtype": case.sizes.get("dtype", "uint8"),
        "median_s": median,
        "p20": _percentile(measured.times, 0.2),
        "p80": _percentile(measured.times, 0.8),
        "best_s": min(measured.times),
        "rounds": len(measured.times),
        "first_call_s": measured.first_call_s,
        "bytes": ideal.bytes,
        "flops": ideal.flops,
        "gb_per_s": rates["copy"],
        "gflop_per_s": rates["mm"] if ideal.flops else None,
        "roof": ideal.roof,
        "percent_of_roof": 100 * rates[ideal.roof] / limit,
        "extra_peak_bytes": extra_peak_bytes,
        "agreement": measured.agreement,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Sorted by case and time, one entry of a list a line so that two runs can be compared; replaces the file in one
    step."""
    order = {case: i for i, case in enumerate(dict.fromkeys((r["op"], r["study"], r["case"]) for r in content["rows"]))}
    rows = sorted(content["rows"], key=lambda r: (order[r["op"], r["study"], r["case"]], r["threads"], r["median_s"]))
    lists = {key: value for key, value in content.items() if isinstance(value, list) and key != "rows"}
    head = {key: value for key, value in content.items() if not isinstance(value, list)}
    text = json.dumps({"schema": SCHEMA, **_rounded(head)}, indent=1)[:-2]
    for key, entries in (*lists.items(), ("rows", rows)):
        text += f',\n "{key}": [\n  ' + ",\n  ".join(json.dumps(_rounded(entry)) for entry in entries) + "\n ]"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text + "\n}\n")
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {content.get('schema')}, expected {SCHEMA}: measure again")
    return content


def _package(library: str) -> str:
    return PACKAGES.get(library, library)


def _percentile(times: list[float], share: float) -> float:
    """The value at this share of the sorted times, the nearest one measured."""
    return sorted(times)[round(share * (len(times) - 1))]


def _rounded(value: Any) -> Any:
    """Floats to five significant digits: more would be noise in every diff."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return value
