"""Compiles the catalogue and compares the machine code with the checked-in table, or replaces the table.

    python -m benchmarks.static            everything; exit status 1 if a row changed or is at fault
    python -m benchmarks.static --quick    the part that `make test` compiles
    python -m benchmarks.static --sm 90    one architecture
    python -m benchmarks.static --write    replaces benchmarks/static/table.json and docs/kernels/static.md

With another version of Triton than the table's, differences are only reported.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import triton

from benchmarks.static import page, table
from benchmarks.static.catalogue import ARCHITECTURES, QUICK_ARCHITECTURES, catalogue, recorded
from benchmarks.static.checks import faults
from benchmarks.static.compiler import compile_all
from gsskernels.triton.launch import INTERPRETED


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the table and the page")
    parser.add_argument("--quick", action="store_true", help="only the part that `make test` compiles")
    parser.add_argument("--only", default="", metavar="TEXT", help="only calls whose name contains TEXT")
    parser.add_argument("--sm", type=int, choices=[a.capability for a in ARCHITECTURES], help="only this architecture")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write the fresh rows here as well")
    found = parser.parse_args(arguments)
    if INTERPRETED:
        parser.error("TRITON_INTERPRET is set: there is nothing to compile")
    partial = found.quick or bool(found.only) or found.sm is not None
    if found.write and partial:
        parser.error("--write replaces the whole table: it cannot go with --quick, --only or --sm")

    started = time.perf_counter()
    calls = [c for c in catalogue() if found.only in c.name and (c.quick or not found.quick)]
    architectures = QUICK_ARCHITECTURES if found.quick else ARCHITECTURES
    variants = recorded(calls, [a for a in architectures if found.sm in (None, a.capability)])
    facts = compile_all(variants)
    rows = table.rows(variants, facts)
    print(f"{len(rows)} kernels and configurations in {time.perf_counter() - started:.0f} s")
    if found.rows:
        found.rows.write_text(json.dumps(rows))
    wrong = faults(rows)
    for fault in wrong:
        print(f"FAULT {fault}")
    if found.write:
        whole = {"triton": triton.__version__, "rows": table.stored(rows)}
        table.save(whole)
        page.write(whole)
        print(f"{table.FILE}, {page.FILE}")
        return bool(wrong)
    return report(rows, partial) or bool(wrong)


def report(rows: table.Rows, partial: bool) -> int:
    """Prints the differences from the checked-in table, and returns the exit status."""
    before = table.load()
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
