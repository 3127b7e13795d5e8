"""Tables and plots of docs/performance.md, from the rows that `make bench` wrote.

    python -m benchmarks.kernels.report [RESULTS] [--page docs/performance.md]

Text between `<!-- NAME -->` and `<!-- /NAME -->` in the page is replaced; the rest of it is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.kernels import plots
from benchmarks.kernels.promises import promises

ROOT = Path(__file__).resolve().parents[2]
NATIVE = "gsskernels native"
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "benchmarks/results/kernels-cpu.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/performance.md")
    parser.add_argument("--no-plots", action="store_true", help="tables only; matplotlib is not needed then")
    found = parser.parse_args(arguments)
    results = json.loads(found.results.read_text())
    page = found.page.read_text()
    for name, section in SECTIONS.items():
        page = replaced(page, name, section(results))
    found.page.write_text(page)
    if not found.no_plots:
        plots.draw(results, found.page.parent / "images")
    print(f"{found.page}: {len(results['rows'])} rows")


def replaced(page: str, name: str, text: str) -> str:
    """The page with the text between the markers of `name` replaced. Raises ValueError if it has no such markers."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda m: f"{m[1]}{text.rstrip()}\n{m[2]}", page)


def machine(results: dict[str, Any]) -> str:
    m, packages = results["machine"], results["machine"]["packages"]
    roofs = results["roofs"][str(m["cores"])]
    libraries = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return (
        f"{m['cpu']} (family/model {m['cpu_family_model']}), {m['cores']} cores, {', '.join(m['flags'])}; "
        f"L3 {m['cache']['L3']}, {m['memory_gib']} GiB. {m['date']}, gsskernels {m['gsskernels']['version']} at "
        f"{m['gsskernels']['commit']}. {libraries}.\n\n"
        f"Roofs on all cores: copy {roofs['copy_gb_per_s']:.1f} GB/s, torch.mm {roofs['mm_float32_gflop_per_s']:.0f} "
        f"GFLOP/s in float32 and {roofs['mm_bfloat16_gflop_per_s']:.0f} in bfloat16.\n"
    )


def tables(results: dict[str, Any]) -> str:
    """One table a case of the study "table": every provider, fastest first."""
    text = []
    for (op, case), rows in _groups(r for r in results["rows"] if r["study"] == "table"):
        rows = [r for r in rows if r["role"] == "answer" and (r["isa"] is None or r["provider"] == NATIVE)]
        ours = next((r for r in rows if r["provider"] == NATIVE), None)
        unit = "GB/s" if rows[0]["roof"] == "copy" else "GFLOP/s"
        lines = [["provider", "median", "of native", unit, "% of roof", "extra memory"]]
        for r in sorted(rows, key=lambda r: r["median_s"]):
            rate = r["gb_per_s"] if r["roof"] == "copy" else r["gflop_per_s"]
            name = f"**{r['provider']}**" if r["provider"] == NATIVE else r["provider"]
            slower = f"{r['median_s'] / ours['median_s']:.1f}x" if ours else ""
            lines.append([name, seconds(r["median_s"]), slower, f"{rate:.1f}", f"{r['percent_of_roof']:.0f}", size(r)])
        text.append(f"**{op}**, {case}\n\n{markdown(lines)}")
    return "\n".join(text)


def isas(results: dict[str, Any]) -> str:
    """The native backend's time by instruction set."""
    names = results["machine"]["gsskernels"]["isas"]
    lines = [["operation", "case", *names]]
    for (op, case), rows in _groups(r for r in results["rows"] if r["study"] == "table"):
        times = {r["isa"]: r["median_s"] for r in rows if r["backend"] == "native" and r["provider"] != NATIVE}
        if times:
            lines.append([op, case, *(seconds(times[name]) if name in times else "" for name in names)])
    return markdown(lines)


def overhead(results: dict[str, Any]) -> str:
    lines = [["operation", "call", "PyTorch doing the same", "one small torch op"]]
    for (op, _), rows in _groups(r for r in results["rows"] if r["study"] == "overhead"):
        ours = next((r for r in rows if r["provider"] == NATIVE), None)
        small = next(r for r in rows if r["role"] == "roof")
        theirs = [r for r in rows if r["role"] == "answer" and r["library"] == "torch"]
        eager = seconds(min(r["median_s"] for r in theirs)) if theirs else ""
        lines.append([op, seconds(ours["median_s"]) if ours else "", eager, seconds(small["median_s"])])
    return markdown(lines)


def threads(results: dict[str, Any]) -> str:
    counts = sorted({r["threads"] for r in results["rows"] if r["study"] == "threads"})
    lines = [["operation", "case", *(f"{n} thread{'s' if n > 1 else ''}" for n in counts), "speed-up"]]
    for (op, case), rows in _groups(r for r in results["rows"] if r["study"] == "threads"):
        times = {r["threads"]: r["median_s"] for r in rows if r["provider"] == NATIVE}
        if len(times) == len(counts):
            gained = f"{times[counts[0]] / times[counts[-1]]:.2f}x"
            lines.append([op, case, *(seconds(times[n]) for n in counts), gained])
    return markdown(lines)


def kept(results: dict[str, Any]) -> str:
    lines = [["promise", "measured", "kept"]]
    lines += [[p.text, p.measured, "yes" if p.kept else "**no**"] for p in promises(results["rows"])]
    return markdown(lines)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "machine": machine,
    "promises": kept,
    "tables": tables,
    "isas": isas,
    "overhead": overhead,
    "threads": threads,
}


def _groups(rows: Iterable[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Rows by operation and case, in the order of the file."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["op"], row["case"]), []).append(row)
    return list(groups.items())


def seconds(value: float) -> str:
    """Three digits with a unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1 or unit == "us":
            return f"{value * scale:.3g} {unit}" if value * scale < 1000 else f"{value * scale:.0f} {unit}"
    raise AssertionError("unreachable")


def size(row: Row) -> str:
    extra = row["extra_peak_bytes"]
    if extra is None:
        return ""
    return f"{extra / 2**20:.0f} MiB" if extra >= 2**20 else "< 1 MiB"


def markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    rows = [head, ["---"] * len(head), *rest]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
