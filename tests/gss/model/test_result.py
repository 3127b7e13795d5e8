import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gss.evaluation.metrics import percent
from gss.evaluation.report import write_report
from gss.io.files import to_json
from gss.io.labels import read_label
from gss.io.pictures import colorize, margin_map, overlay, token_mosaic
from gss.model.result import Result
from gss.palette import Palette

PALETTE = Palette("two", ("left", "right", "absent"), ((200, 0, 0), (0, 0, 200), (0, 200, 0)), ignore_color=(9, 9, 9))


def halves(height: int = 12, width: int = 20, *, generative: bool = True) -> Result:
    labels = torch.zeros(height, width, dtype=torch.uint8)
    labels[:, width // 2 :] = 1
    return Result(
        image=torch.full((3, height, width), 100, dtype=torch.uint8),
        labels=labels,
        margin=torch.linspace(0, 40, width).expand(height, width).contiguous(),
        palette=PALETTE,
        maskige=PALETTE.tensor()[labels.long()].permute(2, 0, 1) if generative else None,
        tokens=torch.arange(15).reshape(3, 5) if generative else None,
        name="street" if generative else None,
    )


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_colorize_uses_the_palette_and_the_ignore_colour():
    image = pixels(colorize(torch.tensor([[0, 1, 2, 255, 77]], dtype=torch.uint8), PALETTE))
    assert image.tolist() == [[[200, 0, 0], [0, 0, 200], [0, 200, 0], [9, 9, 9], [9, 9, 9]]]


def test_overlay_blends_classes_and_draws_the_border():
    result = halves()
    image = pixels(overlay(result.image, result.labels, PALETTE, alpha=0.5))
    assert image.shape == (12, 20, 3)
    assert image[3, 2].tolist() == [150, 50, 50]
    assert image[3, 15].tolist() == [50, 50, 150]
    assert (image[:, 10] > image[:, 11]).all(), "the column where the class changes is lighter"
    assert (image[:, 9] == image[:, 2]).all(), "the border is one pixel wide"


def test_overlay_leaves_unlabelled_pixels_as_they_are():
    labels = torch.full((4, 4), 255, dtype=torch.uint8)
    image = overlay(torch.full((3, 4, 4), 100, dtype=torch.uint8), labels, PALETTE)
    assert (pixels(image) == 100).all()


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_overlay_refuses_alpha_outside_0_to_1(alpha):
    with pytest.raises(ValueError, match="alpha"):
        overlay(halves().image, halves().labels, PALETTE, alpha=alpha)


def test_overlay_refuses_labels_of_another_size():
    with pytest.raises(ValueError, match=r"labels: expected the size of the image \(12, 20\), got \(6, 10\)"):
        overlay(halves().image, torch.zeros(6, 10, dtype=torch.uint8), PALETTE)


def test_a_token_always_has_the_same_colour_and_others_differ():
    one = pixels(token_mosaic(torch.tensor([[3, 7], [7, 3]])))
    assert (one[0, 0] == one[1, 1]).all() and (one[0, 1] == one[1, 0]).all()
    every = pixels(token_mosaic(torch.arange(256).reshape(1, 256)))[0]
    assert len({tuple(color) for color in every.tolist()}) == 256
    steps = np.abs(np.diff(every.astype(int), axis=0)).sum(axis=1)
    assert steps.min() > 60, "neighbouring ids look different"


def test_margin_map_is_dark_where_unsure_and_survives_infinity_and_nan():
    image, maximum = margin_map(torch.tensor([[0.0, 10.0, float("inf"), float("nan")]]), maximum=10.0)
    brightness = pixels(image).astype(int).sum(axis=2)[0]
    assert maximum == 10.0
    assert brightness[0] == brightness[3] < 30 < brightness[1] == brightness[2]
    assert margin_map(torch.full((2, 2), float("inf")))[1] == 1.0
    assert margin_map(torch.zeros(2, 2))[1] == 1.0


def test_margin_map_brightness_rises():
    image, _ = margin_map(torch.linspace(0, 1, 64)[None], maximum=1.0)
    luma = pixels(image.convert("L"))[0].astype(int)
    assert (np.diff(luma) >= 0).all()


def test_strip_has_five_panels_and_three_without_a_maskige():
    five, three = halves().strip(), halves(generative=False).strip()
    assert five.width == 16 + 5 * (320 + 16)
    assert three.width == 16 + 3 * (320 + 16)
    assert five.height > 192
    # the tokens' panel is enlarged without mixing colours
    left, top = 16 + 336, 16 + 28
    panel = pixels(five)[top : top + 192, left : left + 320].reshape(-1, 3)
    assert len(np.unique(panel, axis=0)) == 15


def test_strip_shows_how_sure_the_tokens_are():
    result = halves()
    certainty = torch.zeros(12, 20)
    certainty[:, 10:] = -2.0  # 7.4 classes held possible
    six = replace(result, certainty=certainty).strip()
    assert six.width == result.strip().width + 336
    panel = pixels(six)[16 + 28 :][:192, 16 + 5 * 336 :][:, :320].astype(int).sum(2)
    assert panel[:, :140].min() > panel[:, 180:].max() + 200, "the sure half is the brighter one"


def test_strip_legend_names_only_the_classes_that_are_there():
    colors = {tuple(color) for color in pixels(halves(generative=False).strip()).reshape(-1, 3).tolist()}
    assert (200, 0, 0) in colors and (0, 0, 200) in colors
    assert (0, 200, 0) not in colors


def test_strip_reduces_wide_photos():
    assert halves(20, 1000, generative=False).strip().width == 16 + 3 * (640 + 16)


@pytest.mark.parametrize(
    ("photo", "panel"),
    [
        ((48, 64), (240, 320)),
        ((2000, 10), (960, 5)),
        ((10, 2000), (3, 640)),
        ((1920, 1080), (960, 540)),
        ((1, 1), (320, 320)),
    ],
)
def test_a_panel_fits_into_its_box_and_keeps_the_aspect(photo, panel):
    picture = halves(*photo, generative=False).strip()
    column = max(panel[1], 320)
    assert picture.width == 16 + 3 * (column + 16)
    assert panel[0] < picture.height < panel[0] + 130
    # the photo is grey 100 all over, and white surrounds it
    assert (pixels(picture)[44 : 44 + panel[0], 16 : 16 + panel[1]] == 100).all()
    assert (pixels(picture)[44 + panel[0], 16 : 16 + panel[1]] == 255).all()
    assert (pixels(picture)[44 : 44 + panel[0], 16 + panel[1]] == 255).all()


def test_save_writes_every_picture_and_the_labels_read_back(tmp_path):
    result = halves()
    paths = result.save(tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "street_labels.png",
        "street_maskige.png",
        "street_overlay.png",
        "street_strip.png",
    ]
    assert torch.equal(read_label(paths["labels"], PALETTE), result.labels)
    maskige = pixels(Image.open(paths["maskige"]))
    assert (maskige == result.maskige.permute(1, 2, 0).numpy()).all()
    assert set(halves(generative=False).save(tmp_path)) == {"labels", "overlay", "strip"}
    assert (tmp_path / "result_strip.png").is_file()


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("image", torch.zeros(3, 4, 5), TypeError, r"image: expected uint8 \(3, H, W\), got torch.float32 \(3, 4, 5\)"),
        ("labels", torch.zeros(4, 4, dtype=torch.uint8), ValueError, r"labels: expected uint8 \(12, 20\)"),
        ("labels", torch.zeros(12, 20, dtype=torch.int64), TypeError, "labels: expected uint8"),
        ("margin", torch.zeros(12, 20, dtype=torch.float64), TypeError, "margin: expected float32"),
        ("certainty", torch.zeros(12, 20, dtype=torch.float64), TypeError, "certainty: expected float32"),
        ("certainty", torch.zeros(12, 21), ValueError, r"certainty: expected float32 \(12, 20\)"),
        ("maskige", torch.zeros(12, 20, dtype=torch.uint8), ValueError, r"maskige: expected uint8 \(3, h, w\)"),
        ("tokens", torch.zeros(3, 5), TypeError, r"tokens: expected integers \(ht, wt\), got torch.float32"),
        ("tokens", torch.zeros(15, dtype=torch.int64), ValueError, r"tokens: .* got torch.int64 \(15,\)"),
    ],
)
def test_result_refuses_wrong_tensors(field, value, error, message):
    values = {**vars(halves()), field: value}
    with pytest.raises(error, match=message):
        Result(**values)


def test_report_is_self_contained_and_json_has_no_nan(tmp_path):
    picture = halves().save(tmp_path)["strip"]
    metrics = {
        "mIoU": 0.5,
        "mAcc": 0.75,
        "aAcc": float("nan"),
        "per_class": {
            "left <b>": {"IoU": 0.5, "Acc": 0.75, "pixels": 1200},
            "absent": {"IoU": None, "Acc": None, "pixels": 0},
        },
    }
    extra = {"title": "A & B", "seconds": 3, "recipe": {"seed": 1, "stage": {"steps": 7}}, "where": tmp_path}
    paths = write_report(tmp_path / "report", metrics, [picture], extra)
    page = paths["html"].read_text()
    assert "<title>A &amp; B</title>" in page
    assert "left &lt;b&gt;" in page and "left <b>" not in page
    assert "50.0 %" in page and "1,200" in page and "stage.steps" in page
    assert "data:image/png;base64," in page and 'src="http' not in page
    saved = json.loads(paths["json"].read_text())
    assert saved["metrics"]["mIoU"] == 0.5 and saved["metrics"]["aAcc"] is None
    assert saved["extra"]["recipe"]["stage"]["steps"] == 7
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]


def test_report_refuses_a_missing_picture(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        write_report(tmp_path, {"mIoU": 0.5, "per_class": {}}, [tmp_path / "nothing.png"])


def test_percent_and_json():
    assert [percent(0.4567), percent(None), percent(float("nan"))] == ["45.7 %", "-", "-"]
    assert json.loads(to_json({"a": (1, float("inf"))})) == {"a": [1, None]}
