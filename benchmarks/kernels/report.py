"""Tables and plots of docs/performance.md from the rows of the last runs, on a CPU and on a GPU.

    python -m benchmarks.kernels.report [--page docs/performance.md] [--no-plots] [RESULTS ...]

Text between `<!-- NAME -->` and `<!-- /NAME -->` in the page is replaced; the rest of the page is written by hand. The
names of GPU results begin with "gpu-".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.kernels import results as files
from benchmarks.kernels.promises import verdicts
from benchmarks.kernels.providers import OURS

if TYPE_CHECKING:
    from benchmarks.kernels.measure import Outcome

ROOT = Path(__file__).resolve().parents[2]
RESULTS = [ROOT / f"benchmarks/results/kernels-{device}.json" for device in ("cpu", "gpu")]
Row = dict[str, Any]
Results = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", default=RESULTS)
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md")
    parser.add_argument("--no-plots", action="store_true", help="tables only; matplotlib is not needed then")
    given = parser.parse_args(arguments)
    for file in given.results:
        found = files.read(file)
        prefix = "gpu-" if device(found) == "cuda" else ""
        page = given.page.read_text()
        for name, section in (GPU_SECTIONS if prefix else CPU_SECTIONS).items():
            page = replaced(page, prefix + name, section(found))
        given.page.write_text(page)
        if not prefix and not given.no_plots:
            from benchmarks.kernels import plots

            plots.draw(found, given.page.parent / "images")
        print(f"{given.page}: {len(found['rows'])} rows of {file}")


def device(results: Results) -> str:
    return "cuda" if "gpu" in results["machine"] else "cpu"


def replaced(page: str, name: str, text: str) -> str:
    """The page with the text between the markers of `name` replaced. Raises ValueError if it has no such markers."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"page: expected <!-- {name} --> ... <!-- /{name} -->, found none")
    return pattern.sub(lambda m: f"{m[1]}{text.rstrip()}\n{m[2]}", page)


def machine(results: Results) -> str:
    m = results["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in m["packages"].items() if version)
    when = f"{m['date']}, gsskernels {m['gsskernels']['version']} at {m['gsskernels']['commit']}. {libraries}.\n"
    if device(results) == "cuda":
        nvml, roofs = results["telemetry"], results["roofs"]
        limit = f", {nvml['power_limit_w']:.0f} W" if nvml.get("power_limit_w") else ""
        rates = {n: roofs[f"mm_{n}_gflop_per_s"] / 1e3 for n in ("bfloat16", "float16", "float32", "float32_ieee")}
        return (
            f"{m['gpu']} ({m['multiprocessors']} multiprocessors, {m['gpu_memory_gib']} GiB, L2 "
            f"{m['l2_bytes'] / 2**20:.0f} MiB{limit}), driver {nvml.get('driver', 'unknown')}, CUDA {m['cuda']}. {when}"
            f"\nRoofs: copy {roofs['copy_gb_per_s'] / 1e3:.2f} TB/s; torch.mm {rates['bfloat16']:.0f} TFLOP/s in "
            f"bfloat16, {rates['float16']:.0f} in float16, {rates['float32']:.0f} in TF32, {rates['float32_ieee']:.0f} "
            f"in float32. float32 is set against TF32. The smallest kernel takes {roofs['graph_node_us']:.2f} us in a "
            "graph.\n"
        )
    roofs = results["roofs"][str(m["cores"])]
    return (
        f"{m['cpu']} (family/model {m['cpu_family_model']}), {m['cores']} cores, {', '.join(m['flags'])}; "
        f"L3 {m['cache']['L3']}, {m['memory_gib']} GiB. {when}\n"
        f"Roofs on all cores: copy {roofs['copy_gb_per_s']:.1f} GB/s, torch.mm {roofs['mm_float32_gflop_per_s']:.0f} "
        f"GFLOP/s in float32 and {roofs['mm_bfloat16_gflop_per_s']:.0f} in bfloat16.\n"
    )


def promises(results: Results) -> str:
    shown = {True: "yes", False: "**no**", None: ""}
    lines = [[text, measured, shown[kept]] for text, measured, kept in verdicts(results["rows"], device(results))]
    return markdown([["promise", "measured", "kept"], *lines])


def tables(results: Results) -> str:
    """One table a case of the study "table": every provider, fastest first."""
    us, text = OURS[device(results)], []
    thousand, prefix = (1e3, "T") if device(results) == "cuda" else (1.0, "G")
    for (op, case), rows in groups(r for r in results["rows"] if r["study"] == "table"):
        if device(results) == "cpu":
            rows = [r for r in rows if r["role"] == "answer" and (r["isa"] is None or r["provider"] == us)]
        ours = next((r for r in rows if r["provider"] == us), None)
        copied, joules = rows[0]["roof"] == "copy", any(r.get("energy_j") for r in rows)
        head = [
            "provider",
            "median",
            "of ours",
            f"{prefix}{'B/s' if copied else 'FLOP/s'}",
            "% of roof",
            "extra memory",
        ]
        lines = [head + ["J"] * joules]
        for r in sorted(rows, key=lambda r: r["median_s"]):
            rate = (r["gb_per_s"] if copied else r["gflop_per_s"]) / thousand
            ratio = f"{r['median_s'] / ours['median_s']:.2f}x" if ours else ""
            percent = f"{r['percent_of_roof']:.0f}"
            cells = [label(r, us), seconds(r["median_s"]), ratio, f"{rate:.3g}", percent, size(r["extra_peak_bytes"])]
            energy = r.get("energy_j")
            lines.append(cells + ([f"{energy:.3g}" if energy else ""] if joules else []))
        text.append(f"**{op}**, {case}\n\n{markdown(lines)}{details(ours or rows[0])}")
    return "\n".join(text)


def label(row: Row, us: str) -> str:
    name = f"**{row['provider']}**" if row["provider"] == us else row["provider"]
    if row["role"] == "roof":
        return f"{name} (roof)"
    return f"{name} (stream)" if row.get("timing") == "stream" else name


def details(row: Row) -> str:
    """Kernels of ours, and the clocks during the case, from a row of a GPU."""
    text = ""
    if isinstance(row.get("kernels"), list):
        parts = (f"{k['name']} {k['us']:.3g} us" + (f" x {k['count']:g}" if k["count"] != 1 else "")
                 for k in row["kernels"])  # fmt: skip
        text += f"\nKernels of ours: {', '.join(parts)}.\n"
    found = row.get("telemetry") or {}
    if "sm_mhz" in found:
        power = f", {found['power_w']['median']:.0f} W" if "power_w" in found else ""
        heat = f", {found['temperature_c']['most']:.0f} C" if "temperature_c" in found else ""
        slowed = f", slowed down by {', '.join(found['throttled_by'])}" if found["throttled_by"] else ""
        text += f"\nClocks {found['sm_mhz']['least']} to {found['sm_mhz']['most']} MHz{power}{heat}{slowed}.\n"
    return text


def isas(results: Results) -> str:
    """Time of the native backend by instruction set."""
    names = results["machine"]["gsskernels"]["isas"]
    lines = [["operation", "case", *names]]
    for (op, case), rows in groups(r for r in results["rows"] if r["study"] == "table"):
        times = {r["isa"]: r["median_s"] for r in rows if r["backend"] == "native" and r["provider"] != OURS["cpu"]}
        if times:
            lines.append([op, case, *(seconds(times[name]) if name in times else "" for name in names)])
    return markdown(lines)


def overhead(results: Results) -> str:
    """Time of the host for a call on almost no data."""
    us, of = OURS[device(results)], "host_s" if device(results) == "cuda" else "median_s"
    lines = [["operation", "call", "PyTorch doing the same", "one small torch op"]]
    for (op, _), rows in groups(r for r in results["rows"] if r["study"] == "overhead"):
        ours = [r[of] for r in rows if r["provider"] == us]
        theirs = [r[of] for r in rows if r["role"] == "answer" and r["library"] == "torch"]
        small = [r[of] for r in rows if r["role"] == "roof"]
        lines.append([op, *(seconds(min(times)) if times else "" for times in (ours, theirs, small))])
    return markdown(lines)


def threads(results: Results) -> str:
    counts = sorted({r["threads"] for r in results["rows"] if r["study"] == "threads"})
    lines = [["operation", "case", *(f"{n} thread{'s' if n > 1 else ''}" for n in counts), "speed-up"]]
    for (op, case), rows in groups(r for r in results["rows"] if r["study"] == "threads"):
        times = {r["threads"]: r["median_s"] for r in rows if r["provider"] == OURS["cpu"]}
        if len(times) == len(counts):
            gained = f"{times[counts[0]] / times[counts[-1]]:.2f}x"
            lines.append([op, case, *(seconds(times[n]) for n in counts), gained])
    return markdown(lines)


def absent(results: Results) -> str:
    """The providers that could not take part, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in results["absent"]:
        reasons.setdefault((entry["provider"], entry["reason"]), []).append(entry["op"])
    lines = [[name, why, ", ".join(dict.fromkeys(ops))] for (name, why), ops in reasons.items()]
    return markdown([["provider", "why", "operations"], *lines])


def short(case: str, outcomes: dict[str, Outcome], most: int = 8) -> str:
    """A few lines for the terminal: the fastest providers of a case, and those that failed."""
    us, rows = set(OURS.values()), sorted((o.row for o in outcomes.values() if o.row), key=lambda r: r["median_s"])
    shown = [r for i, r in enumerate(rows) if i < most or r["provider"] in us]
    lines = [
        f"  {r['provider'][:44]:<44} {seconds(r['median_s']):>9} {r['percent_of_roof']:5.0f} %  "
        f"{size(r['extra_peak_bytes'])}"
        for r in shown
    ]
    failed = [f"  {name[:44]:<44} failed: {o.failed}" for name, o in outcomes.items() if o.failed]
    return "\n".join([case, *lines, *failed])


CPU_SECTIONS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "promises": promises,
    "tables": tables,
    "isas": isas,
    "overhead": overhead,
    "threads": threads,
}
GPU_SECTIONS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "promises": promises,
    "overhead": overhead,
    "tables": tables,
    "absent": absent,
}


def groups(rows: Iterable[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Rows by operation and case, in the order of the file."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["op"], row["case"]), []).append(row)
    return list(found.items())


def seconds(value: float) -> str:
    """Three digits with a suitable unit."""
    unit, scale = ("s", 1.0) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("us", 1e6)
    return f"{value * scale:.3g} {unit}" if value * scale < 1000 else f"{value * scale:.0f} {unit}"


def size(extra: int | None) -> str:
    if extra is None:
        return ""
    return f"{extra / 2**20:.0f} MiB" if extra >= 2**20 else "< 1 MiB"


def markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rest])


if __name__ == "__main__":
    main()
