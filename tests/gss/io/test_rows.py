"""Pictures written from top to bottom, in pieces of any height, by Pillow and in bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gss.io import rows
from gss.io.labels import read_label
from gss.io.pillow import check_png
from gss.io.rows import row_writer

ROWS = np.random.default_rng(0).integers(0, 256, (600, 7), dtype=np.uint8)
TABLE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "streamed":
        pytest.importorskip("pyvips", reason="pyvips, the extra gss[large], is not installed")
        monkeypatch.setattr(rows, "STREAMED", 0)
    return request.param == "streamed"


@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 9]])
@pytest.mark.parametrize("table", [None, TABLE])
@pytest.mark.parametrize("name", ["a.png", "a.TIF"])
def test_pictures_written_in_pieces(
    tmp_path: Path, streamed: bool, cuts: list[int], table: np.ndarray | None, name: str
) -> None:
    path = tmp_path / name
    with row_writer(path, 600, 7, table) as write:
        for piece in np.split(ROWS, cuts):
            write(piece)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert torch.equal(read_label(path), torch.from_numpy(ROWS))
    grey = table is None or (streamed and name != "a.png")
    with Image.open(path) as image:
        assert image.mode == ("L" if grey else "P")
        if not grey:
            np.testing.assert_array_equal(np.array(image.convert("RGB")), TABLE[ROWS])
        if name != "a.png":
            assert (322 in image.tag_v2) == streamed, "tiles"
    if name == "a.png":
        check_png(path)


def test_a_tiff_above_4_gb_is_a_big_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvips", reason="pyvips, the extra gss[large], is not installed")
    monkeypatch.setattr(rows, "STREAMED", 0)
    for limit, magic in ((rows.CLASSIC_TIFF, 42), (100, 43)):
        monkeypatch.setattr(rows, "CLASSIC_TIFF", limit)
        with row_writer(tmp_path / "a.tif", 600, 7) as write:
            write(ROWS)
        assert (tmp_path / "a.tif").read_bytes()[2] == magic
        assert torch.equal(read_label(tmp_path / "a.tif"), torch.from_numpy(ROWS))


def test_a_failure_leaves_no_rows_behind(tmp_path: Path, streamed: bool) -> None:
    with pytest.raises(KeyboardInterrupt), row_writer(tmp_path / "a.tif", 600, 7) as write:
        write(ROWS[:5])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("height", [599, 601])
def test_missing_and_additional_rows_are_refused(tmp_path: Path, streamed: bool, height: int) -> None:
    for name in ("a.png", "a.tif"):
        with (
            pytest.raises(ValueError, match=f"rows: expected {height} of 7 pixels, got 600"),
            row_writer(tmp_path / name, height, 7) as write,
        ):
            write(ROWS)
