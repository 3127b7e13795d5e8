"""``python -m gsskernels.tune``: times configurations of the table-driven kernels on this GPU and writes its table.

python -m gsskernels.tune                             # every kernel, every candidate: minutes
python -m gsskernels.tune --quick --kernels sample    # candidates one step away from the current table
python -m gsskernels.tune --out DIR                   # writes to DIR instead of gsskernels/triton/tables
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from gsskernels import _dispatch
from gsskernels.tune.problems import problem
from gsskernels.tune.search import Tuner
from gsskernels.tune.tables import Table, made, write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gsskernels.tune", description=__doc__.split("\n")[0])
    parser.add_argument("--kernels", default="", help="comma-separated names; by default all in the table")
    parser.add_argument("--quick", action="store_true", help="only configurations one step away from the current ones")
    parser.add_argument("--out", type=Path, default=None, help="folder of the table; by default the one plans read")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("gsskernels.tune measures on a GPU, and torch finds none", file=sys.stderr)
        return 2
    if (reason := _dispatch.why_missing("triton")) is not None:
        print(f"gsskernels.tune needs the triton backend: {reason}", file=sys.stderr)
        return 2
    from gsskernels.triton import plan
    from gsskernels.triton.launch import architecture

    device = torch.device("cuda", torch.cuda.current_device())
    here = architecture(device)
    table: Table = dict(plan._table(here.capability))
    names = [name for name in given.kernels.split(",") if name] or [name for name in table if name != "made"]
    if unknown := set(names) - set(table):
        parser.error(f"the table has no kernel {', '.join(sorted(unknown))}")
    table["made"] = made(torch.cuda.get_device_name(device))
    path = (given.out or plan.TABLES) / f"sm{here.capability}.json"
    start = time.time()
    processes = max(1, min(12, len(os.sched_getaffinity(0)) - 2))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tuner = Tuner(device, here, given.quick, pool.map)
        for name in names:
            for row in range(len(table[name])):
                if name == "cross_entropy":
                    table = tuner.crossover(table)
                else:
                    table = tuner.row(table, name, row, problem(name, table[name][row]["when"]))
                write(table, path)  # a run that is cut off keeps what it found
    print(f"{path}: {time.time() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
