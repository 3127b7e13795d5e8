"""Bands of rows: one helper for maps with channels first and last."""

from __future__ import annotations

import torch

from gss.model.bands import in_row_bands


@torch.no_grad()
def test_each_image_of_a_batch_has_bands_of_its_own() -> None:
    """The rows of a band do not get fewer with the batch, or most of the work would be done twice."""
    calls: list[tuple[int, ...]] = []

    def layers(x: torch.Tensor, first: int) -> torch.Tensor:
        calls.append((first, *x.shape))
        return 2 * x

    x = torch.randn(3, 2, 100, 4)
    assert torch.equal(in_row_bands(layers, x, rows=50, halo=2), 2 * x)
    assert calls == [(0, 1, 2, 52, 4), (48, 1, 2, 52, 4)] * 3
    last = x.contiguous(memory_format=torch.channels_last)
    assert in_row_bands(layers, last, rows=50, halo=2).is_contiguous(memory_format=torch.channels_last)


def test_gradients_and_rows_along_another_dimension() -> None:
    x = torch.randn(2, 7, 3, 5, requires_grad=True)
    result = in_row_bands(lambda band, first: band.square() + first, x, rows=3, dim=1)
    expected = x.square() + torch.tensor([0, 0, 0, 3, 3, 3, 6])[:, None, None]
    assert torch.equal(result, expected)
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert torch.equal(gradient, 2 * x)
