from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.prediction.painted.png.reader import PngReader
from gss.prediction.painted.png.writer import png_writer

ROWS = np.random.default_rng(0).integers(0, 256, (11, 7), dtype=np.uint8)
TABLE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)


@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 9]])
@pytest.mark.parametrize("table", [None, TABLE])
def test_pillow_and_the_reader_read_what_was_written_in_pieces(
    tmp_path: Path, cuts: list[int], table: np.ndarray | None
) -> None:
    path = tmp_path / "a.png"
    with png_writer(path, 11, 7, table) as writer:
        for piece in np.split(ROWS, cuts):
            writer.write(piece)
    with Image.open(path) as image:
        assert image.mode == ("L" if table is None else "P")
        np.testing.assert_array_equal(np.array(image), ROWS)
        if table is not None:
            np.testing.assert_array_equal(np.array(image.convert("RGB")), table[ROWS])
    with PngReader(path) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.bands(4))), ROWS)


@pytest.mark.parametrize("rows", [ROWS.astype(np.int16), ROWS[:, :6], ROWS[0], np.concatenate([ROWS, ROWS[:1]])])
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: np.ndarray) -> None:
    with (
        pytest.raises(ValueError, match="rows: expected uint8, 7 columns and at most 11 more rows, got"),
        png_writer(tmp_path / "a.png", 11, 7) as writer,
    ):
        writer.write(rows)


def test_missing_rows_and_impossible_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows: expected 11, got 3"), png_writer(tmp_path / "a.png", 11, 7) as writer:
        writer.write(ROWS[:3])
    for size in ((0, 7), (11, 2**31)):
        with pytest.raises(ValueError, match="height, width: expected 1 to"), png_writer(tmp_path / "a.png", *size):
            pass
