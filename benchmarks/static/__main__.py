"""Compiles the catalogue, and compares with the checked-in table or replaces it.

    python -m benchmarks.static            everything; exit status 1 if a row changed or is at fault
    python -m benchmarks.static --quick    what `make test` compiles
    python -m benchmarks.static --write    replaces benchmarks/static/table.json and docs/kernels/static.md

The comparison is only reported, not enforced, where Triton is another version than the table's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import triton

from benchmarks.static import amd, page, stored, table
from benchmarks.static.catalogue import ARCHITECTURES, QUICK_ARCHITECTURES, catalogue, recorded
from benchmarks.static.checks import faults
from benchmarks.static.compiler import compile_all
from benchmarks.static.promises import promised
from gsskernels.triton.launch import INTERPRETED


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the table and the page")
    parser.add_argument("--quick", action="store_true", help="only what `make test` compiles")
    parser.add_argument("--only", default="", metavar="TEXT", help="only calls whose name contains TEXT")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write the fresh rows here as well")
    found = parser.parse_args(arguments)
    if INTERPRETED:
        parser.error("TRITON_INTERPRET is set: there is nothing to compile")
    partial = found.quick or bool(found.only)
    if found.write and partial:
        parser.error("--write replaces the whole table: it goes with neither --quick nor --only")

    started = time.perf_counter()
    calls = [c for c in catalogue() if found.only in c.name and (c.quick or not found.quick)]
    variants = recorded(calls, QUICK_ARCHITECTURES if found.quick else ARCHITECTURES)
    facts = compile_all(variants)
    rows = table.rows(variants, facts)
    print(f"{len(rows)} kernels and configurations in {time.perf_counter() - started:.0f} s")
    if found.rows:
        found.rows.write_text(json.dumps(rows))
    wrong = faults(rows)
    for fault in wrong:
        print(f"FAULT {fault}")
    if found.write:
        known = {v.identity: f for v, f in zip(variants, facts, strict=True)}
        whole = {
            "triton": triton.__version__,
            "rows": table.stored(rows),
            "promises": promised(known),
            "amd": amd.compiles(),
        }
        stored.save(whole)
        page.write(whole)
        print(f"{stored.FILE}, {page.FILE}")
        return bool(wrong)
    return report(rows, partial) or bool(wrong)


def report(rows: table.Rows, partial: bool) -> int:
    """Prints what differs from the checked-in table; the exit status."""
    before = stored.load()
    changes = table.compare(before["rows"], rows, partial)
    for change in changes:
        print(change)
    if not changes:
        print("as in benchmarks/static/table.json")
        return 0
    if before["triton"] != triton.__version__:
        print(f"not enforced: the table was made with Triton {before['triton']}, this is {triton.__version__}")
        return 0
    worse = sum(change.worse for change in changes)
    print(f"{len(changes)} changes, {worse} for the worse. If they are meant: python -m benchmarks.static --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
