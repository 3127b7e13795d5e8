"""Learning rate as a pure function of the step, so that resuming needs no scheduler state."""

from __future__ import annotations

import math


def decay_factor(step: int, steps: int, schedule: str, *, power: float = 1.0) -> float:
    """Fraction of the base learning rate at `step` (0-based) of `steps`, without warmup; reaches 0 at `step == steps`.

    poly      (1 - step / steps) ** power
    cosine    (1 + cos(pi * step / steps)) / 2
    constant  1

    Raises:
        ValueError: for an unknown schedule, `steps < 1`, or `step` outside 0..steps.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if not 0 <= step <= steps:
        raise ValueError(f"step: expected 0..{steps}, got {step}")
    if schedule == "poly":
        return (1.0 - step / steps) ** power
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * step / steps))
    if schedule == "constant":
        return 1.0
    raise ValueError(f"schedule: expected poly, cosine or constant, got {schedule!r}")


def warmup_factor(step: int, warmup_steps: int, *, ratio: float = 1e-6) -> float:
    """Linear warmup: from `ratio` at step 0 to 1 at `step == warmup_steps`, and 1 from there on."""
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps: expected 0 or more, got {warmup_steps}")
    if step >= warmup_steps:
        return 1.0
    return 1.0 - (1.0 - step / warmup_steps) * (1.0 - ratio)


def learning_rate_at(
    step: int,
    *,
    base: float,
    steps: int,
    minimum: float = 0.0,
    warmup_steps: int = 0,
    warmup_ratio: float = 1e-6,
    schedule: str = "poly",
    power: float = 1.0,
) -> float:
    """Learning rate of the optimiser step `step` (0-based): it falls from `base` to `minimum`, times `warmup_factor`.

    The warmup multiplies the decaying rate, floor included, instead of preceding it, as in mmcv and so in the paper's
    recipe (poly, power 1, linear warmup of 1500 steps from a ratio of 1e-6; arXiv 2303.11316, section 4).

    >>> learning_rate_at(50, base=1.0, steps=100, minimum=0.5)
    0.75
    """
    decaying = (base - minimum) * decay_factor(step, steps, schedule, power=power) + minimum
    return decaying * warmup_factor(step, warmup_steps, ratio=warmup_ratio)
