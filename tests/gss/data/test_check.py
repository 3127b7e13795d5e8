"""The check on deliberately broken files: every problem is found, named and counted, and none is invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.data.check import KINDS, DataError, Report, check_listings, largest_class_id
from gss.data.sources.layouts import list_split
from gss.palette import Palette
from tests.gss.data.trees import check

IDS = np.arange(192, dtype=np.uint8).reshape(12, 16)


def found(report: Report) -> list[tuple[str, str]]:
    return [(problem.kind, problem.file) for problem in report.problems]


def test_clean_folder(folder: Path, palette: Palette) -> None:
    calls: list[tuple[int, int]] = []
    listings = {split: list_split(folder, split) for split in ("train", "val")}
    report = check_listings(listings, palette, lambda done, total: calls.append((done, total)))
    assert report.ok
    assert report.counts == {"train": 4, "val": 2}
    assert report.sizes == {(12, 16): 6}
    assert int(report.class_pixels.sum()) + report.ignored_pixels == 6 * 12 * 16
    assert calls == [(done, 6) for done in range(1, 7)]
    assert "no problems found" in report.summary()
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    with pytest.raises(ValueError, match="listings: expected one for each split, got none"):
        check_listings({}, palette)


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
    report = check(folder, palette=palette)
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


@pytest.mark.parametrize(
    ("annotation", "kind", "detail"),
    [
        (np.zeros((16, 12), np.uint8), "size mismatch", "label 16x12, image 12x16 (height x width)"),
        (IDS % 4, "class id outside palette", "if ids count from 1, subtract 1 and make 0 the ignore value 255"),
        (np.ones((12, 16), np.uint16), "wrong mode", "expected an 8-bit index PNG"),
        (np.full((12, 16, 3), 2, np.uint8), "colour mask", "class ids saved as RGB"),
        (
            "palette colours",
            "colour mask",
            "all colours are in the palette 'three'; convert it with gss.io.labels.rgb_",
        ),
    ],
)
def test_one_problem(folder: Path, palette: Palette, annotation, kind: str, detail: str) -> None:
    if isinstance(annotation, str):
        annotation = np.array([*palette.colors, palette.ignore_color], np.uint8)[IDS % 4]
    Image.fromarray(annotation).save(folder / "annotations" / "val" / "n1.png")
    report = check(folder, palette=palette)
    assert found(report) == [(kind, "annotations/val/n1.png")]
    assert detail in report.problems[0].detail


def test_missing_and_empty_folders(tmp_path: Path, palette: Palette) -> None:
    report = check(tmp_path, palette=palette, splits=("train",))
    assert found(report) == [("missing folder", "images/train"), ("missing folder", "annotations/train")]
    for kind in ("images", "annotations"):
        (tmp_path / kind / "train").mkdir(parents=True)
    assert found(check(tmp_path, palette=palette, splits=("train",))) == [("no images", "images/train")]


def test_duplicate_name(folder: Path, palette: Palette) -> None:
    (folder / "images" / "val" / "n0.png").write_bytes((folder / "images" / "val" / "n1.png").read_bytes())
    (problem,) = check(folder, palette=palette).problems
    assert (problem.kind, problem.file) == ("duplicate name", "images/val/n0.png")
    assert problem.detail == "two images of one name: n0.jpg and n0.png"


def test_summary_shortens_long_lists(folder: Path, palette: Palette) -> None:
    for i in range(8):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(folder / "annotations" / "train" / f"x{i}.png")
    report = check(folder, palette=palette)
    assert len(report.problems) == 8
    summary = report.summary(per_kind=3)
    assert "missing image: 8" in summary and "... and 5 more" in summary
    assert {problem.kind for problem in report.problems} <= set(KINDS)


def test_largest_class_id_leaves_out_ignored_pixels_and_files_that_are_no_labels(folder: Path) -> None:
    annotations = sorted((folder / "annotations" / "train").iterdir())
    assert largest_class_id(folder) == 2
    Image.fromarray(np.array([[255, 7]], np.uint8)).save(annotations[0])
    Image.new("RGB", (4, 4), (200, 0, 0)).save(annotations[1])
    annotations[2].write_text("not an image")
    assert largest_class_id(folder) == 7
    assert largest_class_id(folder, ("val",)) == 2
    assert largest_class_id(folder, ("test",)) is None
