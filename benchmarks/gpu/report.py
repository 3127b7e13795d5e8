"""The GPU section of docs/performance.md, and the short table at the end of a run, from the data a run wrote.

    python -m benchmarks.gpu.report [RESULTS] [--page docs/performance.md]

Text between `<!-- gpu-NAME -->` and `<!-- /gpu-NAME -->` in the page is replaced; the rest of it is written by hand.
Until there is a result file the page has the predictions alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import PREDICTED, PROMISED
from benchmarks.gpu.promises import verdicts
from benchmarks.kernels import results as files
from benchmarks.kernels.providers import TRITON
from benchmarks.kernels.report import _groups, markdown, replaced, seconds, size

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results/kernels-gpu.json"
NOT_YET = "Not measured yet: no GPU was available.\n"
Row = dict[str, Any]
Results = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md")
    given = parser.parse_args(arguments)
    results = files.read(given.results) if given.results.exists() else nothing()
    page = given.page.read_text()
    for name, section in SECTIONS.items():
        page = replaced(page, f"gpu-{name}", section(results))
    given.page.write_text(page)
    print(f"{given.page}: {len(results['rows'])} rows, {len(results['checks'])} checks")


def nothing() -> Results:
    """The results of a run that did not happen."""
    lists: Results = {"checks": [], "absent": [], "rows": [], "promises": verdicts([])}
    return {"machine": {"dry_run": False}, "roofs": {}, "telemetry": {}, "phases": {}, **lists}


def machine(results: Results) -> str:
    m, roofs, nvml = results["machine"], results["roofs"], results["telemetry"]
    if m["dry_run"]:
        return "A dry run on a CPU: its times say nothing about a GPU.\n"
    if "gpu" not in m:
        return NOT_YET
    libraries = ", ".join(f"{name} {version}" for name, version in m["packages"].items() if version)
    limits = f", {nvml['power_limit_w']:.0f} W" if nvml.get("power_limit_w") else ""
    text = (
        f"{m['gpu']} ({m['multiprocessors']} multiprocessors, {m['gpu_memory_gib']} GiB, L2 "
        f"{m['l2_bytes'] / 2**20:.0f} MiB{limits}), driver {nvml.get('driver', 'unknown')}, CUDA {m['cuda']}. "
        f"{m['date']}, gsskernels "
        f"{m['gsskernels']['version']} at {m['gsskernels']['commit']}. {libraries}.\n"
    )
    if not roofs:
        return text
    rates = {n: roofs[f"mm_{n}_gflop_per_s"] / 1e3 for n in ("bfloat16", "float16", "float32", "float32_ieee")}
    return text + (
        f"\nRoofs: copy {roofs['copy_gb_per_s'] / 1e3:.2f} TB/s; torch.mm {rates['bfloat16']:.0f} TFLOP/s in bfloat16, "
        f"{rates['float16']:.0f} in float16, {rates['float32']:.0f} in TF32, {rates['float32_ieee']:.0f} in float32. "
        f"float32 is set against TF32. The smallest kernel takes {roofs['graph_node_us']:.2f} us in a graph.\n"
    )


def checks(results: Results) -> str:
    lines = [["phase", "passed", "wrong", "errors", "could not run here", "not reached", "seconds"]]
    for name, phase in results["phases"].items():
        counts = phase.get("summary")
        if counts is not None:
            numbers = [str(counts[key]) for key in ("pass", "wrong", "error", "absent", "not reached")]
            lines.append([name, *numbers, f"{phase['seconds']:.0f}"])
    text = _table(results, lines)
    bad = [check for check in results["checks"] if check["status"] in ("wrong", "error")]
    return text + "".join(f"\n- `{c['id']}`: {c['status']}. {_first(c['detail'])}" for c in bad[:40]) + "\n"


def promises(results: Results) -> str:
    """With what the roofline model of `benchmarks.static` expects on the roofs of this run."""
    predicted, reason = _predictions(results)
    lines = [["promise", "predicted", "measured", "kept"]]
    shown = {True: "yes", False: "**no**", None: ""}
    for verdict in results["promises"]:
        timed = "extra" not in verdict["promise"] and "ahead" not in verdict["promise"]
        expected = predicted.get(verdict["id"]) if timed else None
        between = _between(expected) if expected else ""
        measured = verdict["measured"] or "not measured"
        lines.append([verdict["promise"], between, measured, shown[verdict["kept"]]])
    if reason:
        return f"{markdown(lines)}\nNo predictions: {reason}\n"
    rates = "with the roofs of this run" if results["roofs"] else "with the rates that an H200 is assumed to have"
    return (
        f"{markdown(lines)}\nPredicted {rates}, from the instructions counted in docs/kernels/static.md:\n"
        "if everything overlaps, and if nothing does.\n"
    )


def _predictions(results: Results) -> tuple[dict[str, Any], str | None]:
    roofs, known = results["roofs"], None
    if roofs:
        known = {
            "copy": roofs["copy_gb_per_s"] * 1e9,
            "half": roofs["mm_bfloat16_gflop_per_s"] * 1e9,
            "tf32": roofs["mm_float32_gflop_per_s"] * 1e9,
            "launch": roofs["graph_node_us"] * 1e-6,
        }
    try:
        return import_module("benchmarks.static.roofline").predictions(known), None
    except (ImportError, OSError, KeyError, TypeError) as error:  # a table of another version of the model
        return {}, f"{type(error).__name__}: {error}"


def tables(results: Results) -> str:
    """One table a case: every provider, fastest first."""
    text = []
    predicted, _ = _predictions(results)
    known = {(case.op, case.label): predicted.get(name) for name, case in (PROMISED | PREDICTED).items()}
    for (op, case), rows in _groups(r for r in results["rows"] if r["study"] == "table"):
        copied = rows[0]["roof"] == "copy"
        ours = next((r for r in rows if r["provider"] == TRITON), None)
        lines = [["provider", "median", "of ours", "TB/s" if copied else "TFLOP/s", "% of roof", "extra memory", "J"]]
        for r in sorted(rows, key=lambda r: r["median_s"]):
            name = f"**{r['provider']}**" if r["provider"] == TRITON else r["provider"]
            name += " (roof)" if r["role"] == "roof" else "" if r["timing"] == "graph" else f" ({r['timing']})"
            rate = (r["gb_per_s"] if copied else r["gflop_per_s"]) / 1e3
            ratio = f"{r['median_s'] / ours['median_s']:.2f}x" if ours else ""
            energy = f"{r['energy_j']:.3g}" if r.get("energy_j") else ""
            lines.append(
                [name, seconds(r["median_s"]), ratio, f"{rate:.3g}", f"{r['percent_of_roof']:.0f}", size(r), energy]
            )
        text.append(
            f"**{op}**, {case}\n\n{markdown(lines)}{_expected(known.get((op, case)))}{_kernels(ours)}{_clocks(rows[0])}"
        )
    return "\n".join(text) or NOT_YET


def _table(results: Results, lines: list[list[str]]) -> str:
    if len(lines) > 1:
        return markdown(lines)
    return "Nothing.\n" if results["phases"] else NOT_YET


def _expected(prediction: dict[str, Any] | None) -> str:
    if prediction is None:
        return ""
    return f"\nPredicted for ours: {_between(prediction)}, bound by {prediction['bound']}.\n"


def _between(prediction: dict[str, Any]) -> str:
    return f"{seconds(prediction['overlapped_s'])} to {seconds(prediction['serial_s'])}"


def _kernels(row: Row | None) -> str:
    found = row.get("kernels") if row else None
    if not isinstance(found, list):
        return ""
    parts = ", ".join(
        f"{k['name']} {k['us']:.3g} us" + (f" x {k['count']:g}" if k["count"] != 1 else "") for k in found
    )
    return f"\nKernels of ours: {parts}.\n"


def _clocks(row: Row) -> str:
    found = row.get("telemetry") or {}
    if "sm_mhz" not in found:
        return ""
    throttled = f", slowed down by {', '.join(found['throttled_by'])}" if found["throttled_by"] else ""
    power = f", {found['power_w']['median']:.0f} W" if "power_w" in found else ""
    heat = f", {found['temperature_c']['most']:.0f} C" if "temperature_c" in found else ""
    return f"\nClocks {found['sm_mhz']['least']} to {found['sm_mhz']['most']} MHz{power}{heat}{throttled}.\n"


def overhead(results: Results) -> str:
    lines = [["operation", "host time of a call", "PyTorch doing the same", "one small torch op"]]
    for (op, _), rows in _groups(r for r in results["rows"] if r["study"] == "overhead"):
        ours = next((r for r in rows if r["provider"] == TRITON), None)
        small = next((r for r in rows if r["role"] == "roof"), None)
        theirs = [r["host_s"] for r in rows if r["role"] == "answer" and r["library"] == "torch"]
        times = [ours and ours["host_s"], min(theirs) if theirs else None, small and small["host_s"]]
        lines.append([op, *(seconds(t) if t else "" for t in times)])
    return _table(results, lines)


def absent(results: Results) -> str:
    """Who could not take part, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in results["absent"]:
        reasons.setdefault((entry["provider"], entry["reason"]), []).append(entry["op"])
    lines = [["provider", "why", "operations"]]
    lines += [[name, why, ", ".join(dict.fromkeys(ops))] for (name, why), ops in reasons.items()]
    return _table(results, lines)


SECTIONS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "promises": promises,
    "checks": checks,
    "overhead": overhead,
    "tables": tables,
    "absent": absent,
}


def short(results: Results, most: int = 11_000) -> str:
    """What fits the end of a log: phases, what is wrong, promises, and the promised cases' best rows."""
    lines = [machine(results).strip().splitlines()[0], ""]
    for name, phase in results["phases"].items():
        counts = phase.get("summary") or {}
        numbers = ", ".join(f"{n} {key}" for key, n in counts.items() if n)
        lines.append(f"{name:<12} {phase['seconds']:6.1f} s  {phase['status']}  {numbers}")
    bad = [check for check in results["checks"] if check["status"] in ("wrong", "error")]
    lines += [f"  {c['status']}: {c['id']}: {_first(c['detail'])[:220]}" for c in bad[:15]]
    lines += [f"  and {len(bad) - 15} more"] if len(bad) > 15 else []
    lines.append("")
    for verdict in results["promises"]:
        kept = {True: "kept", False: "NOT KEPT", None: "-"}[verdict["kept"]]
        lines.append(f"{kept:<9} {verdict['promise']}  [{verdict['measured'] or 'not measured'}]")
    promised = {(c.op, c.label) for c in PROMISED.values()}
    for (op, case), rows in _groups(r for r in results["rows"] if r["study"] == "table"):
        if results["machine"]["dry_run"] or (op, case) in promised:
            lines.append(f"\n{op}, {case}")
            for r in sorted(rows, key=lambda r: r["median_s"])[:6]:
                lines.append(
                    f"  {r['provider'][:44]:<44} {seconds(r['median_s']):>9} {r['percent_of_roof']:5.0f} % {size(r)}"
                )
    text = "\n".join(lines)
    return text if len(text) <= most else text[:most] + "\n..."


def _first(detail: str) -> str:
    """The line that says it: the last of a traceback, else the first."""
    lines = [line for line in detail.splitlines() if line.strip()]
    return (lines[-1] if lines and lines[0].startswith("Traceback") else lines[0] if lines else "").strip()


if __name__ == "__main__":
    main()
