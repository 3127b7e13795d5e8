"""The layout of rows of features: views where tiles can read them, copies where they cannot."""

import pytest
import torch

from gsskernels.triton.rows import aligned_features, rows_of, tiles


@pytest.mark.parametrize(
    ("layout", "places"),
    [
        ("row-major", (1, 60, 0, 8, 1)),  # batches, rows of each, batch stride, row stride, feature stride
        ("channels first", (2, 1200, 9600, 1, 1200)),
        ("channels last", (1, 2400, 0, 8, 1)),
        ("few rows a batch", (1, 60, 0, 8, 1)),
    ],
)
def test_places(layout: str, places: tuple[int, ...]) -> None:
    x, dim = {
        "row-major": (torch.arange(480.0).view(60, 8), 1),
        "channels first": (torch.arange(19200.0).view(2, 8, 30, 40), 1),
        "channels last": (torch.arange(19200.0).view(2, 8, 30, 40).contiguous(memory_format=torch.channels_last), 1),
        "few rows a batch": (torch.arange(480.0).view(4, 8, 15), 1),  # 15 rows would leave most of a tile empty
    }[layout]
    rows = rows_of(x, dim)
    found = rows.batches, rows.per_batch, rows.batch_stride, rows.row_stride, rows.feature_stride
    assert found == places and rows.count * 8 == x.numel()
    moved = x.movedim(dim, -1).reshape(-1, 8)
    for n in (0, 1, rows.count // 2, rows.count - 1):
        batch, r = divmod(n, rows.per_batch)
        start = rows.x.storage_offset() + batch * rows.batch_stride + r * rows.row_stride
        assert torch.equal(rows.x.as_strided((8,), (rows.feature_stride,), start), moved[n])
    assert tiles(rows, 128) == rows.batches * -(-rows.per_batch // 128)


def test_features_are_copied_only_where_they_cannot_be_read_in_whole_16_bytes() -> None:
    table = torch.randn(5, 80)
    for x, dim in ((torch.randn(40, 80), 1), (torch.randn(2, 80, 6, 8), 1), (torch.randn(40, 3), 1)):
        assert aligned_features(x, table, dim)[0] is x
    for x, dim in ((torch.randn(2, 80, 5, 7), 1), (torch.randn(40, 81)[:, 1:], 1)):
        found, same, last = aligned_features(x, table, dim)
        assert torch.equal(found, x.movedim(dim, -1)) and found.is_contiguous() and last == x.dim() - 1
        assert torch.equal(same, table)
    found, padded, _ = aligned_features(torch.ones(40, 77), torch.ones(5, 77), 1)
    assert found.shape == (40, 80) and padded.shape == (5, 80)
    assert bool((found[:, 77:] == 0).all()) and bool((padded[:, 77:] == 0).all())
