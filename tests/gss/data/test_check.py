"""The folder check on deliberately broken files: every problem is found, named and counted, and none is invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.data.check import KINDS, DataError, Report, check_folder, largest_class_id
from gss.palette import Palette


def found(report: Report) -> list[tuple[str, str]]:
    return [(problem.kind, problem.file) for problem in report.problems]


def test_clean_folder(folder: Path, palette: Palette) -> None:
    calls: list[tuple[int, int]] = []
    report = check_folder(folder, palette, progress=lambda done, total: calls.append((done, total)))
    assert report.ok
    assert report.counts == {"train": 4, "val": 2}
    assert report.sizes == {(12, 16): 6}
    assert int(report.class_pixels.sum()) + report.ignored_pixels == 6 * 12 * 16
    assert calls[-1] == (6, 6) and len(calls) == 6
    assert "no problems found" in report.summary()
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_every_problem_at_once(folder: Path, palette: Palette) -> None:
    train, annotations = folder / "images" / "train", folder / "annotations" / "train"
    ids = np.zeros((12, 16), np.uint8)
    ids[0, :5] = 7
    Image.fromarray(ids).save(annotations / "n0.png")
    Image.fromarray(ids[:6] * 0).save(annotations / "n1.png")
    Image.new("RGB", (16, 12), (1, 2, 3)).save(annotations / "n2.png")
    (annotations / "n3.png").unlink()
    whole = (train / "n1.png").read_bytes()
    (train / "n1.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(ids * 0).save(annotations / "orphan.png")
    (folder / "annotations" / "val" / "n0.png").write_text("")
    report = check_folder(folder, palette)
    assert sorted(found(report)) == [
        ("class id outside palette", "annotations/train/n0.png"),
        ("colour mask", "annotations/train/n2.png"),
        ("missing annotation", "images/train/n3.png"),
        ("missing image", "annotations/train/orphan.png"),
        ("unreadable file", "annotations/val/n0.png"),
        ("unreadable file", "images/train/n1.png"),
    ]
    assert report.counts == {"train": 0, "val": 1}
    detail = {problem.kind: problem.detail for problem in report.problems}
    assert detail["class id outside palette"] == "7 (5 pixels); 'three' has 0..2"
    assert detail["colour mask"] == "colours that are not in the palette 'three': (1, 2, 3) (192 pixels)"
    assert detail["missing annotation"] == "no annotations/train/n3.png"
    summary = report.summary()
    assert "unreadable file: 2" in summary and "images/train/n1.png" in summary
    with pytest.raises(DataError, match="6 problem") as error:
        raise DataError(report)
    assert error.value.report is report


def test_size_mismatch(folder: Path, palette: Palette) -> None:
    Image.fromarray(np.zeros((16, 12), np.uint8)).save(folder / "annotations" / "val" / "n1.png")
    report = check_folder(folder, palette)
    assert found(report) == [("size mismatch", "annotations/val/n1.png")]
    assert report.problems[0].detail == "label 16x12, image 12x16 (height x width)"


def test_colour_masks_are_told_apart(folder: Path, palette: Palette) -> None:
    mask = np.array([*palette.colors, palette.ignore_color], np.uint8)[np.arange(192).reshape(12, 16) % 4]
    Image.fromarray(mask).save(folder / "annotations" / "val" / "n0.png")
    Image.fromarray(np.full((12, 16, 3), 2, np.uint8)).save(folder / "annotations" / "val" / "n1.png")
    known, grey = check_folder(folder, palette).problems
    assert "all colours are in the palette" in known.detail and "rgb_to_labels" in known.detail
    assert "class ids saved as RGB" in grey.detail


def test_ids_that_count_from_one_get_a_hint(folder: Path, palette: Palette) -> None:
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16) % 4).save(folder / "annotations" / "val" / "n0.png")
    (problem,) = check_folder(folder, palette).problems
    assert "subtract 1" in problem.detail


def test_sixteen_bit_annotation(folder: Path, palette: Palette) -> None:
    Image.fromarray(np.ones((12, 16), np.uint16)).save(folder / "annotations" / "val" / "n0.png")
    assert found(check_folder(folder, palette)) == [("wrong mode", "annotations/val/n0.png")]


def test_missing_and_empty_folders(tmp_path: Path, palette: Palette) -> None:
    report = check_folder(tmp_path, palette, splits=["train"])
    assert found(report) == [("missing folder", "images/train"), ("missing folder", "annotations/train")]
    for kind in ("images", "annotations"):
        (tmp_path / kind / "train").mkdir(parents=True)
    assert found(check_folder(tmp_path, palette, splits=["train"])) == [("no images", "images/train")]


def test_duplicate_name(folder: Path, palette: Palette) -> None:
    (folder / "images" / "val" / "n0.png").write_bytes((folder / "images" / "val" / "n1.png").read_bytes())
    report = check_folder(folder, palette)
    assert found(report) == [("duplicate name", "images/val/n0.png")]
    assert report.problems[0].detail == "two images of one name: n0.jpg and n0.png"


def test_summary_shortens_long_lists(folder: Path, palette: Palette) -> None:
    for i in range(8):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(folder / "annotations" / "train" / f"x{i}.png")
    report = check_folder(folder, palette)
    assert len(report.problems) == 8
    summary = report.summary(per_kind=3)
    assert "missing image: 8" in summary and "... and 5 more" in summary
    assert set(problem.kind for problem in report.problems) <= set(KINDS)


def test_largest_class_id_leaves_out_ignored_pixels_and_files_that_are_no_labels(folder: Path) -> None:
    annotations = sorted((folder / "annotations" / "train").iterdir())
    assert largest_class_id(folder) == 2
    Image.fromarray(np.array([[255, 7]], np.uint8)).save(annotations[0])
    Image.new("RGB", (4, 4), (200, 0, 0)).save(annotations[1])
    annotations[2].write_text("not an image")
    assert largest_class_id(folder) == 7
    assert largest_class_id(folder, ("val",)) == 2
    assert largest_class_id(folder, ("test",)) is None
