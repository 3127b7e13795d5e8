"""Comparisons with recorded values, each of which leaves its line of the parity table (docs/parity.md)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Values = Tensor | Sequence[Any]  # of numbers, or of sequences of them


@dataclass
class Row:
    """Everything compared under one name with one tolerance; a family, such as all gradients, is one row."""

    recording: str
    quantity: str
    tolerance: str
    largest: float = 0.0
    values: int = 0

    def add(self, largest: float, values: int) -> None:
        self.largest = max(self.largest, largest)
        self.values += values


ROWS: dict[tuple[str, str, str], Row] = {}


def assert_near(
    recording: str,
    quantity: str,
    got: Values,
    wanted: Values,
    atol: float = 1e-4,
    rtol: float = 1e-4,
    member: str = "",
) -> None:
    """|got - wanted| <= atol + rtol |wanted|, and NaN where NaN is recorded.

    The recordings' own noise with other kernels, up to 1.2e-5, is below the tolerance that is the default. `member` is
    which of a family of tensors this is, for the message alone.
    """
    got, wanted = numbers(got), numbers(wanted)
    assert got.shape == wanted.shape, f"{recording}, {quantity} {member}: {got.shape} instead of {wanted.shape}"
    both_nan = got.isnan() & wanted.isnan()
    off = (got.double() - wanted.double()).abs().masked_fill(both_nan, 0.0)
    tolerance = " + ".join([f"{atol:g}"] * (atol > 0) + [f"{rtol:g} x"] * (rtol > 0))
    record(recording, quantity, tolerance, float(off.max()) if off.numel() else 0.0, off.numel())
    torch.testing.assert_close(
        got, wanted, atol=atol, rtol=rtol, equal_nan=True, msg=lambda m: f"{recording}, {quantity} {member}: {m}"
    )


def assert_equal(recording: str, quantity: str, got: Values, wanted: Values, member: str = "") -> None:
    """The same numbers in the same shape; integer types may differ."""
    got, wanted = numbers(got), numbers(wanted)
    assert got.shape == wanted.shape, f"{recording}, {quantity} {member}: {got.shape} instead of {wanted.shape}"
    differ = got != wanted
    off = (got.double() - wanted.double()).abs()[differ]
    record(recording, quantity, "exact", float(off.max()) if off.numel() else 0.0, differ.numel())
    assert not differ.any(), f"{recording}, {quantity} {member}: {int(differ.sum())} of {differ.numel()} differ"


def assert_same(recording: str, quantity: str, got: Collection, wanted: Collection) -> None:
    """Equal names, or equal shapes by name."""
    record(recording, quantity, "exact", 0.0, len(wanted))
    assert got == wanted, f"{recording}, {quantity}"


def numbers(values: Values) -> Tensor:
    """Python's numbers keep their precision."""
    if isinstance(values, Tensor):
        return values.detach()
    tensor = torch.tensor(values)
    return tensor if not tensor.is_floating_point() else torch.tensor(values, dtype=torch.float64)


def record(recording: str, quantity: str, tolerance: str, largest: float, values: int) -> None:
    key = (recording, quantity, tolerance)
    ROWS.setdefault(key, Row(*key)).add(largest, values)
