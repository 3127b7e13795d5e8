"""Finds the fastest configuration for each row of a table.

A candidate is a table that differs from the current one in one row. The function of the backend runs with it, on cold
caches, and must give the answer of the current table. Candidates that a plan reduces to the same launch are timed once.
Compiling takes most of the time and happens first, in several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gsskernels.tune.problems import Problem, candidates
from gsskernels.tune.tables import Table, in_use, replaced

if TYPE_CHECKING:
    from gsskernels.triton.plan import Architecture

WORTH = 0.98  # a change must take at most this share of the current time
FINAL = 3  # candidates that are timed again


def launches(table: Table, architecture: Architecture, posed: Problem) -> str:
    """The planned launches with all meta-parameters. Two tables with equal launches are one candidate."""
    from gsskernels.triton.launch import record

    with in_use(table, architecture.capability), record(architecture) as found:
        posed.call(torch.device("meta"))()
    scalars = [{k: v for k, v in one.arguments.items() if not isinstance(v, Tensor)} for one in found]
    return repr([(one.kernel, one.grid, kept, one.options) for one, kept in zip(found, scalars, strict=True)])


def compile_candidate(table: Table, capability: int, posed: Problem, device: torch.device) -> str | None:
    """Runs a candidate once, to fill Triton's cache. Returns the reason if it cannot run, else None."""
    try:
        with in_use(table, capability):
            posed.call(device)().cpu()
    except Exception as error:  # a candidate may ask for more than the GPU has: the reason is printed
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
    return None


def milliseconds(call: Callable[[], Tensor], rep: int = 30) -> float:
    """The median time on cold caches: Triton's benchmark overwrites a buffer larger than the L2 between calls."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=10, rep=rep, return_mode="median"))


def agree(got: Tensor, wanted: Tensor) -> bool:
    """Whether two answers agree. Another order of a float32 sum may change a near tie in one of a thousand rows."""
    if wanted.is_floating_point():
        return torch.allclose(got, wanted, rtol=1e-3, atol=1e-3)
    return float((got == wanted).double().mean()) >= 0.999


@dataclass(frozen=True)
class Tuner:
    """`map` runs compile_candidate over candidates, in processes of their own."""

    device: torch.device
    architecture: Architecture
    quick: bool
    map: Callable[..., Iterable[str | None]]

    def row(self, table: Table, kernel: str, row: int, posed: Problem) -> Table:
        """The table with the fastest configuration for this row."""
        capability, current = self.architecture.capability, table[kernel][row]["use"]
        tables = {launches(table, self.architecture, posed): table}
        for use in candidates(current, posed.features, self.quick):
            changed = replaced(table, kernel, row, use)
            tables.setdefault(launches(changed, self.architecture, posed), changed)
        others = repeat(capability), repeat(posed), repeat(self.device)
        reasons = list(self.map(compile_candidate, tables.values(), *others))
        for reason in sorted({reason for reason in reasons if reason}):
            print(f"  left out {reasons.count(reason)}: {reason}")
        runnable = [t for t, reason in zip(tables.values(), reasons, strict=True) if reason is None]
        if table not in runnable:
            raise RuntimeError(f"{kernel} does not run with the current table: {reasons[0]}")
        call = posed.call(self.device)
        with in_use(table, capability):
            wanted = call()
        times: list[tuple[float, int]] = []
        for i, candidate in enumerate(runnable):
            with in_use(candidate, capability):
                if agree(call(), wanted):
                    times.append((milliseconds(call), i))
                else:
                    print(f"  wrong answers: {candidate[kernel][row]['use']}")
        again: dict[int, list[float]] = {i: [] for i in {0, *(i for _, i in sorted(times)[:FINAL])}}
        for _ in range(3):  # in turn, so that a slow moment affects all of them
            for i, found in again.items():
                with in_use(runnable[i], capability):
                    found.append(milliseconds(call))
        medians = {i: sorted(found)[1] for i, found in again.items()}
        best = min(medians, key=lambda i: medians[i])
        kept = runnable[best] if medians[best] <= WORTH * medians[0] else table
        print(
            f"{kernel} {table[kernel][row]['when']}: {medians[0]:.4g} ms before, {medians[best]:.4g} ms at best of "
            f"{len(times)}: {kept[kernel][row]['use']}",
            flush=True,
        )
        return kept

    def crossover(self, table: Table) -> Table:
        """Finds the number of features up to which a fused loss without gradients is faster than stored logits."""
        upto = 0
        for features in (64, 128, 256, 512, 1024, 2048):
            call = Problem("linear_cross_entropy", 2, features).call(self.device)
            times = []
            for limit in (0, features):
                changed = replaced(table, "cross_entropy", 0, {"fuse_features_upto": limit})
                with in_use(changed, self.architecture.capability):
                    times.append(milliseconds(call))
            print(f"cross_entropy, {features} features: {times[0]:.4g} ms from stored logits, {times[1]:.4g} ms fused")
            if times[1] > times[0]:
                break
            upto = features
        return replaced(table, "cross_entropy", 0, {"fuse_features_upto": upto})
