"""Whole models against the official segmentors: scores, class maps, losses (11_e2e_*.npz)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gss.model.gss import GSS
from gss.model.views.predict import predict_labels
from gss.training.stages import InverseTraining, PriorTraining
from tests.official.compare import assert_equal, assert_near
from tests.official.configurations import inference_of, loss_weights
from tests.official.recordings import Recording, by_name, files, load, official_model


@pytest.fixture(params=files("11_e2e_*.npz"), ids=by_name)
def recording(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return load(path)


@pytest.fixture
def model(recording: Recording) -> GSS:
    return official_model(recording.weights, recording.config["model"])


def scores_of(model: GSS, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Class scores of images that are normalised already, as the recorded inputs are."""
    return model.class_scores(model.paint(model.encoder.maps(pixels))[1], size)


def test_scores(recording: Recording, model: GSS) -> None:
    image = recording.inputs["img"]
    with torch.no_grad():
        scores = scores_of(model, image, (image.shape[-2], image.shape[-1]))
    assert_near(recording.name, "encode_decode", scores, recording.outputs["encode_decode"])


def test_class_map(recording: Recording, model: GSS) -> None:
    """Windows, if the configuration has them, then the size of the original photo."""
    settings = inference_of(recording.config["model"])
    height, width = recording.config["ori_shape"]
    found = predict_labels(
        lambda pixels, size: scores_of(model, pixels, size), recording.inputs["img"], settings, (height, width)
    )
    assert_equal(recording.name, "simple_test", found.labels, recording.outputs["simple_test"])


def test_losses(recording: Recording, model: GSS) -> None:
    name, labels = recording.name, recording.inputs["gt"][:, 0]
    wanted = recording.group("losses.decode.")
    weights = torch.ones(model.palette.num_classes)
    with torch.no_grad():
        maps = model.encoder.maps(recording.inputs["img"])
        if model.inverse is None:
            losses = PriorTraining(model, weights).eval().losses(maps, *model.trunk(maps), labels)
            config = model.prior_config
            assert_near(name, "losses", config.token_loss * losses["token"], wanted["loss_ce"])
            assert_near(name, "losses", config.pixel_loss * losses["pixel"], wanted["loss_ce_pixel"])
        else:
            loss = InverseTraining(model, weights).eval().losses(maps, labels)["loss"]
            scale = loss_weights(recording.config["model"]["decode_head"])
            for loss_name, weight in scale.items():
                assert_near(name, "losses", weight * loss, wanted[loss_name])
            losses = {"loss": sum(scale.values()) * loss}
    assert_near(name, "losses", losses["loss"], recording.outputs["loss_total"])
