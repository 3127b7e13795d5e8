"""Counts of right and wrong pixels by score, and the report on confidence, against plain definitions."""

from dataclasses import replace

import pytest
import torch

import gss
from gss.config import InferenceConfig, InverseConfig
from gss.data.dataset import PairDataset
from gss.data.sources.layouts import open_dataset
from gss.evaluation.confidence import (
    SplitScores,
    best_score,
    calibrate,
    confidence_report,
    score_split,
    softmax_scores,
)
from gss.evaluation.scores import evaluate
from gss.model.loading import build_gss
from gss.model.result import Result
from gss.palette import Palette
from gss.prediction.calibration import calibration_error, fit_calibration
from gss.prediction.histogram import Levels, ScoreHistogram, auroc
from gss.scenes import generate_scenes
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")
WINDOWS = InferenceConfig(mode="slide", crop=(32, 32), stride=(16, 16))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PairDataset:
    folder = tmp_path_factory.mktemp("scenes")
    generate_scenes(folder, train=1, val=3, size=(32, 48), seed=0)
    return open_dataset(folder, "val", PALETTE)


@pytest.fixture(scope="module")
def model() -> gss.GSS:
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE).eval()


@pytest.fixture(scope="module")
def twin() -> gss.PixelClassifier:
    torch.manual_seed(0)
    recipe = tiny_recipe()
    return gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior)).eval()


@pytest.fixture(scope="module")
def scores(model: gss.GSS, data: PairDataset) -> SplitScores:
    return score_split(model, data)


@pytest.fixture(scope="module")
def twin_scores(twin: gss.PixelClassifier, data: PairDataset) -> SplitScores:
    return score_split(twin, data)


def narrower(data: PairDataset) -> PairDataset:
    """The same data set, but the second image fits into one window of WINDOWS."""

    class Mixed(PairDataset):
        def __getitem__(self, index: int) -> dict[str, object]:
            pair, width = data[index], 32 if index == 1 else 48
            return {**pair, "image": pair["image"][:, :, :width], "label": pair["label"][:, :width]}

    return Mixed(data.root, "val", data.pairs, PALETTE)


def test_a_split_is_counted_pixel_by_pixel(model, data, scores) -> None:
    expected = evaluate(model, data)
    assert scores.metrics.confusion.tolist() == expected.pop("confusion")
    assert scores.metrics.compute() == expected
    assert scores.unit == "levels"
    for half, indices in zip(scores.halves, ((0, 1), (2,)), strict=True):
        assert list(half) == ["margin", "certainty"]
        for name, histogram in half.items():
            counted = ScoreHistogram()
            for index in indices:
                result, label = model.predict(data[index]["image"]), data[index]["label"]
                counted.update(getattr(result, name)[label != 255], (result.labels == label)[label != 255])
            assert torch.equal(histogram.right, counted.right) and torch.equal(histogram.wrong, counted.wrong)


@pytest.mark.parametrize(("name", "unit"), [("margin", "levels"), ("certainty", "nats")])
def test_each_half_is_tested_with_the_fit_of_the_other(scores, name: str, unit: str) -> None:
    report = confidence_report(scores, PALETTE, score=name)
    first, second = (half[name].levels() for half in scores.halves)
    whole = scores.whole()[name].levels()
    joined = Levels(*(torch.cat(columns) for columns in zip(first, second, strict=True)))
    fits = fit_calibration(second, unit), fit_calibration(first, unit)
    parts = (fit.confidence(levels.score) for fit, levels in zip(fits, (first, second), strict=True))
    confidence = torch.cat(list(parts)).double()
    found = report["scores"][name]
    assert found["auroc"] == auroc(whole)
    assert found["ece"]["after"]["width"] == pytest.approx(calibration_error(joined, confidence))
    assert report["score"] == name and report["unit"] == "levels"
    kept = confidence >= 0.5
    share = float((joined.right + joined.wrong)[kept].sum()) / report["pixels"]
    assert report["abstain"]["0.5"]["coverage"] == pytest.approx(share)
    # with fit=scores the calibration is fitted on the pixels it is tested on, as in `calibrate`
    same = confidence_report(scores, PALETTE, fit=scores)["scores"][name]["ece"]["after"]["width"]
    calibration = calibrate(scores, score=name)
    assert same == pytest.approx(calibration_error(whole, calibration.confidence(whole.score).double()))


def test_softmax_scores_of_a_classifier(twin, twin_scores, data) -> None:
    image = data[0]["image"]
    with torch.inference_mode():
        probability = twin(image[None])[0].double().softmax(0)
    found = softmax_scores(twin, image)
    entropy = -(probability * probability.log()).sum(0)
    assert torch.allclose(-found["entropy"].double(), entropy, atol=1e-5)
    assert torch.allclose(found["max_probability"].double(), probability.amax(0).logit(), atol=1e-4)
    report = confidence_report(twin_scores, PALETTE)
    assert list(report["scores"]) == ["margin", "max_probability", "entropy"]
    assert report["unit"] == "probability" and "ece" not in report["scores"]["entropy"]
    assert report["scores"]["max_probability"]["ece"]["before"]["width"] <= 1


@pytest.mark.parametrize("score", ["margin", "certainty"])
def test_abstaining_leaves_out_unsure_pixels(model, data, scores, score: str) -> None:
    result = model.predict(data[0]["image"])
    calibration = calibrate(scores, score=score)
    confidence = result.confidence(calibration)
    assert calibration.score == score
    assert torch.equal(confidence, calibration.confidence(getattr(result, score)))
    threshold = float(confidence.median())
    unsure = result.abstain(calibration, threshold)
    assert isinstance(unsure, Result)
    assert torch.equal(unsure.labels == 255, confidence < threshold)
    assert 0 < (unsure.labels == 255).float().mean() < 1
    kept = unsure.labels != 255
    assert torch.equal(unsure.labels[kept], result.labels[kept])
    assert torch.equal(result.abstain(calibration, 0.0).labels, result.labels)
    with pytest.raises(ValueError, match="threshold: expected a probability, 0 to 1, got 90"):
        result.abstain(calibration, 90)


def test_the_best_available_score_is_fitted(model, twin, data, scores, twin_scores) -> None:
    assert calibrate(scores, "0123") == fit_calibration(scores.whole()["certainty"].levels(), "nats", "0123")
    assert [best_score(scores), best_score(twin_scores)] == ["certainty", "margin"]
    assert best_score(scores, twin_scores) == confidence_report(twin_scores, PALETTE)["score"] == "margin"
    assert calibrate(twin_scores).unit == "probability"
    missing = "expected a certainty for every image, got none"
    with pytest.raises(ValueError, match=f"score: {missing}"):
        calibrate(twin_scores, score="certainty")
    with pytest.raises(ValueError, match=f"score: {missing}"):
        confidence_report(twin_scores, PALETTE, score="certainty")
    with pytest.raises(ValueError, match=f"{data.names[0]}: {missing}"):
        score_split(twin, data, require="certainty")
    without = replace(model.predict(data[0]["image"]), certainty=None)
    with pytest.raises(ValueError, match="calibration: expected one of margins, since this result has no certainty"):
        without.confidence(calibrate(scores))
    assert torch.equal(without.confidence(calibrate(scores, score="margin")).isfinite(), without.labels >= 0)


def test_a_certainty_that_some_images_lack_is_left_out(data) -> None:
    inverse, mixed = InverseConfig(type="convolution", channels=8), narrower(data)
    sliding = build_gss(tiny_recipe(inverse=inverse, inference=WINDOWS), PALETTE).eval()
    assert sliding.predict(mixed[1]["image"]).certainty is not None
    scores = score_split(sliding, mixed)
    assert [list(half) for half in scores.halves] == [["margin"], ["margin"]]
    # the report has the certainty of a split where all images have one, even if the split of the fit lacks it
    small = score_split(build_gss(tiny_recipe(inverse=inverse), PALETTE).eval(), data)
    report = confidence_report(small, PALETTE, fit=scores)
    assert report["score"] == "margin" and set(report["scores"]) == {"margin", "certainty"}
    assert "ece" in report["scores"]["margin"] and "ece" not in report["scores"]["certainty"]


def test_margins_of_two_units_are_not_mixed(twin, data, scores, twin_scores) -> None:
    with pytest.raises(ValueError, match="calibration: expected one of margins in probability, got .* in levels"):
        twin.predict(data[0]["image"]).confidence(calibrate(scores, score="margin"))
    with pytest.raises(ValueError, match="fit: expected a split of margins in levels, got one of margins in probab"):
        confidence_report(scores, PALETTE, fit=twin_scores)
    sliding = build_gss(tiny_recipe(inference=WINDOWS), PALETTE).eval()
    assert sliding.predict(data[0]["image"]).margin_unit == "probability"
    with pytest.raises(ValueError, match="expected a margin in probability as for the images before, got one in level"):
        score_split(sliding, narrower(data))


def test_one_image_is_too_few_to_fit_and_test(model, data, scores) -> None:
    one = score_split(model, open_dataset(data.root, "train", PALETTE))
    with pytest.raises(ValueError, match="split: expected at least two images"):
        confidence_report(one, PALETTE)
    assert confidence_report(one, PALETTE, fit=scores)["pixels"] > 0
