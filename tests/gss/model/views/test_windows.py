"""The window grid, against a grid walked step by step."""

from __future__ import annotations

import pytest
import torch

from gss.model.views.windows import coverage, window_starts, windows


def walked(length: int, crop: int, stride: int) -> list[int]:
    starts = [0]
    while starts[-1] + crop < length:
        starts.append(min(starts[-1] + stride, length - crop))
    return starts


def test_every_small_grid() -> None:
    for length in range(1, 25):
        for crop in range(1, 28):
            for stride in range(1, crop + 1):
                assert window_starts(length, crop, stride) == walked(length, crop, stride), (length, crop, stride)


def test_official_grids() -> None:
    # Cityscapes and MSeg settings: crop 768, stride 512; MSeg images are 512 high.
    assert window_starts(1024, 768, 512) == [0, 256]
    assert window_starts(2048, 768, 512) == [0, 512, 1024, 1280]
    assert windows((512, 900), (768, 768), (512, 512)) == [
        (slice(0, 512), slice(0, 768)),
        (slice(0, 512), slice(132, 900)),
    ]


def test_windows_are_equally_large_cover_everything_and_come_row_by_row() -> None:
    for size in ((1, 1), (5, 3), (7, 12), (13, 9)):
        for crop, stride in (((4, 5), (3, 2)), ((6, 3), (6, 1)), ((20, 20), (7, 7))):
            grid = windows(size, crop, stride)
            assert grid == sorted(grid, key=lambda window: (window[0].start, window[1].start))
            expected = (min(size[0], crop[0]), min(size[1], crop[1]))
            seen = torch.zeros(size)
            for rows, columns in grid:
                assert seen[rows, columns].shape == expected
                seen[rows, columns] += 1
            assert torch.equal(coverage(size, crop, stride), seen) and seen.min() >= 1


@pytest.mark.parametrize(
    ("length", "crop", "stride", "message"),
    [
        (0, 4, 4, "length: expected at least 1 pixel, got 0"),
        (8, 4, 5, "stride: expected 1 to the crop 4, got 5"),
        (8, 4, 0, "stride: expected 1 to the crop 4, got 0"),
    ],
)
def test_grids_that_leave_pixels_out_are_refused(length: int, crop: int, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        window_starts(length, crop, stride)
