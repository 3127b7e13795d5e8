"""The paper's jittered grid: its size, its range, its seed."""

import pytest

from gss.palettes.lattice import LATTICES, lattice_palette


@pytest.mark.parametrize(("kind", "count"), [("ade20k", 150), ("mseg", 194)])
def test_lattice(kind: str, count: int) -> None:
    lattice = LATTICES[kind]
    grid = lattice.grid()[lattice.left_out :]
    colors = lattice_palette(kind, 0)
    assert len(colors) == count and colors == lattice_palette(kind, 0) != lattice_palette(kind, 1)
    low, high = lattice.jitter
    changes = [c - g for color, cell in zip(colors, grid, strict=True) for c, g in zip(color, cell, strict=True)]
    assert (min(changes), max(changes)) == (low, high)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected one of ade20k, mseg, got 'cityscapes'"):
        lattice_palette("cityscapes", 0)
