"""How often a kernel goes round its loops, and what a round achieves: from counted code to work and costs per unit.

Every kernel's instructions outside of loops and the bytes of its tensors are known from the code and the launch. What
is in neither, the rounds of its loops, what they re-read through L2 and how many products they make, is written down
here, a function a kernel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from benchmarks.static.compiler import Facts
from benchmarks.static.roofline import Work
from benchmarks.static.variants import Variant
from gsskernels.triton.launch import Launch

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Rounds:
    """What one block does on average. `times`: how often it goes round the loops of each depth, the outermost first;
    `last`: the same for the last loops of the code, where loops of one depth differ."""

    times: tuple[float, ...] = ()
    last: tuple[float, ...] = ()
    l2: float = 0.0  # bytes it reads that other blocks read as well
    flops: float = 0.0
    rate: str = "half"

    def repeated(self, items: float) -> Rounds:
        """The same for every item of a loop around all of it."""
        times = (items, *(items * t for t in self.times))
        return replace(self, times=times, l2=items * self.l2, flops=items * self.flops)

    def of(self, loops: Sequence[Mapping[str, Any]]) -> list[float]:
        """For every loop of the machine code; once where nothing is known."""
        found = [self.times[min(loop["depth"], len(self.times) - 1)] if self.times else 1.0 for loop in loops]
        return [*found[: len(found) - len(self.last)], *self.last]


def work_of(launched: Launch, variant: Variant, facts: Facts, share: float = 1.0) -> Work:
    """The work of a recorded launch. `share` is the part of all rows that is in the list a kernel goes through."""
    sizes = {**variant.constants, **launched.arguments}
    blocks = math.prod(launched.grid)
    rounds = ROUNDS[variant.name](sizes, blocks, share) if variant.name in ROUNDS else Rounds()
    in_loops: Counter[str] = Counter()
    for loop in facts["loops"]:
        in_loops.update(loop["counts"])
    return Work(
        name=variant.name,
        blocks=blocks,
        warps=variant.options["num_warps"],
        straight={kind: share * (n - in_loops[kind]) for kind, n in facts["counts"].items()},
        loops=[(t, loop["counts"]) for t, loop in zip(rounds.of(facts["loops"]), facts["loops"], strict=True)],
        memory=share * sum(t.numel() * t.element_size() for t in _tensors(launched)),
        l2=blocks * rounds.l2,
        flops=blocks * rounds.flops,
        rate=rounds.rate,
    )


def _tensors(launched: Launch) -> list[torch.Tensor]:
    """The tensors of a launch, each once."""
    given = (a.base if isinstance(a, TensorDescriptor) else a for a in launched.arguments.values())
    return list({id(t): t for t in given if isinstance(t, torch.Tensor)}.values())


# --- Matrix kernels: tiles of rows x codes, the features in blocks --------------------------------------------------


def _argmax(s: Sizes, blocks: int, share: float) -> Rounds:
    item = s["x_ptr"].element_size()
    return replace(_tiles(s, item, item), rate="half" if item == 2 else "tf32")


def _sample(s: Sizes, blocks: int, share: float) -> Rounds:
    one = _argmax(s, blocks, share)
    return replace(one, flops=3 * one.flops) if one.rate == "tf32" else one  # float32 products of three tf32 ones


def _certified(s: Sizes, blocks: int, share: float) -> Rounds:
    parts = s["PARTS"]  # of float16: with two, three of the four products are made
    one = _tiles(s, s["x_ptr"].element_size(), 2 * parts, products={1: 1, 2: 3}[parts])
    return one if s.get("list_ptr") is None else one.repeated(_items(s, share) / blocks)


def _items(s: Sizes, share: float) -> int:
    """Of a kernel over a list: tiles of rows, each in as many pieces as the codes have splits."""
    return math.ceil(share * s["capacity"] / s["BLOCK_ROWS"]) * s["splits"]


def _tiles(s: Sizes, x_item: int, code_item: int, products: int = 1) -> Rounds:
    """One block's tiles of codes; its rows are read once, or once a tile where they do not stay."""
    rows, codes, block = s["BLOCK_ROWS"], s["BLOCK_CODES"], s["BLOCK_FEATURES"]
    tiles = math.ceil(math.ceil(s["codes"] / codes) / s.get("splits", 1))
    features = math.ceil(s["features"] / block) * block
    resident = s.get("RESIDENT", False)
    x = rows * features * x_item * (1 if resident else tiles)
    return Rounds(
        times=(tiles,) if resident else (tiles, tiles * features // block),
        l2=x + tiles * codes * features * code_item,
        flops=2.0 * products * rows * tiles * codes * features,
    )


def _exact(s: Sizes, blocks: int, share: float) -> Rounds:
    one = replace(_tiles(s, 4, 4), rate="double")
    return one.repeated(_items(s, share) / blocks)


def _over_splits(s: Sizes, blocks: int, share: float) -> Rounds:
    return Rounds((share * s["splits"],))


def _decide(s: Sizes, blocks: int, share: float) -> Rounds:
    """Over the splits, and last over the features for the norms of the rows."""
    norms = math.ceil(s["features"] / s["BLOCK_FEATURES"])
    return Rounds((share * s["splits"],), last=(share * norms,))


# --- Pixels ---------------------------------------------------------------------------------------------------------

CANDIDATES = 1.0  # rounds over a list: a warp in two meets a cell with two candidates, no pixel is off the grid


def _decode(s: Sizes, blocks: int, share: float) -> Rounds:
    """The machine code goes through all classes first, for pixels off the grid, and then through candidates."""
    return Rounds((0,), last=(CANDIDATES,)) if s["BITS"] else Rounds((s["num_classes"],))


def _vote(s: Sizes, blocks: int, share: float) -> Rounds:
    return Rounds((s["ROWS"],))


ROUNDS: dict[str, Callable[[Sizes, int, float], Rounds]] = {
    "argmax": _argmax,
    "sample": _sample,
    "decode": _decode,
    "decode_and_count": _decode,
    "vote": _vote,
    "vote_and_count": _vote,
    "fast": _certified,
    "exact": _exact,
    "merge": _over_splits,
    "decide": _decide,
    "write": _over_splits,
}


# --- Costs per unit -------------------------------------------------------------------------------------------------


def per_unit(variant: Variant, facts: Facts) -> dict[str, Any] | None:
    """Lane instructions per score of a matrix kernel's loops by class, "all" summed; None without products.

    The innermost loop with products is counted for all blocks of features, the loop over codes around it once.
    """
    constants = variant.constants
    if not facts["tensor"] or "BLOCK_CODES" not in constants:
        return None
    numbers = [i for i, loop in enumerate(facts["loops"]) if loop["counts"].get("tensor")]
    if not numbers:
        return None
    hot = max(numbers, key=lambda i: facts["loops"][i]["depth"])
    lanes = 32 * variant.options["num_warps"] / (constants["BLOCK_ROWS"] * constants["BLOCK_CODES"])
    resident = constants.get("RESIDENT", False)
    blocks = 1 if resident else math.ceil(variant.integers["features"] / constants["BLOCK_FEATURES"])
    costs = {kind: n * lanes * blocks for kind, n in facts["loops"][hot]["counts"].items()}
    if not resident and (parent := _around(facts["loops"], hot)) is not None:
        for kind, n in facts["loops"][parent]["counts"].items():
            costs[kind] = costs.get(kind, 0.0) + n * lanes
    return {"unit": "score", "all": round(sum(costs.values()), 2), **{k: round(n, 2) for k, n in costs.items()}}


def _around(loops: list[dict[str, Any]], number: int) -> int | None:
    """The loop that contains this one. Loops are listed by their headers, outer before inner."""
    depth = loops[number]["depth"]
    return next((i for i in reversed(range(number)) if loops[i]["depth"] == depth - 1), None)
