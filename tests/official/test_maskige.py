"""Encode and decode against the official ones (01_maskige_*.npz)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gsskernels import maskige_decode, maskige_encode
from tests.official.compare import assert_equal, assert_near
from tests.official.recordings import Recording, by_name, files, load

KEPT = pytest.mark.parametrize("keep_ignore", [False, True])


@pytest.fixture(params=files("01_maskige_*.npz"), ids=by_name)
def recording(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return load(path)


def palette_of(recording: Recording, keep_ignore: bool) -> Tensor:
    """The official palette ends with the ignore colour; decoding drops it unless keep_ignore_index is set."""
    palette = torch.tensor(recording.config["palette"])
    assert len(palette) == recording.config["num_classes"] + 1
    return palette if keep_ignore else palette[:-1]


def suffix(keep_ignore: bool) -> str:
    return "_keep_ignore" if keep_ignore else ""


def test_encode(recording: Recording) -> None:
    *classes, ignore = recording.config["palette"]
    labels, wanted = recording.inputs["labels"][:, 0], recording.outputs
    # Labels K, 255 and everything between are the last palette row in the official code.
    got = maskige_encode(labels, torch.tensor(classes), ignore_color=tuple(ignore), dtype=torch.uint8)
    assert_equal(recording.name, "encoded", got, wanted["encoded"])
    small = labels.to(torch.uint8)
    got = maskige_encode(small, torch.tensor(classes), ignore_color=tuple(ignore), dtype=torch.uint8)
    assert_equal(recording.name, "encoded", got, wanted["encoded_from_uint8"], "from uint8")
    got = maskige_encode(labels, torch.tensor(classes), ignore_color=tuple(ignore))
    assert_equal(recording.name, "encoded", got, wanted["encoded"], "in float32")


@KEPT
@pytest.mark.parametrize("name", ["clean", "noisy", "ties"])
def test_decode(recording: Recording, name: str, keep_ignore: bool) -> None:
    palette = palette_of(recording, keep_ignore)
    maskige = recording.outputs["encoded"] if name == "clean" else recording.inputs[name]
    wanted = recording.outputs[f"decode_{name}{suffix(keep_ignore)}"][:, 0]
    for found in (maskige_decode(maskige, palette), maskige_decode(maskige.float(), palette.float())):
        assert_equal(recording.name, f"decode_{name}", found, wanted, suffix(keep_ignore))


@KEPT
def test_margin(recording: Recording, keep_ignore: bool) -> None:
    """The recorded gap of squared distances is the margin times twice the distance between the two colours."""
    palette = palette_of(recording, keep_ignore)
    noisy = recording.inputs["noisy"]
    labels, margin = maskige_decode(noisy, palette, margin=True)
    squared = ((noisy.double()[:, None] - palette.double()[:, :, None, None]) ** 2).sum(2)
    runner_up = squared.scatter(1, labels.long()[:, None], torch.inf).argmin(1)
    between = (palette[labels.long()] - palette[runner_up]).double().norm(dim=-1)
    gap = margin.double() * 2 * between
    wanted = recording.outputs[f"margin64_noisy{suffix(keep_ignore)}"]
    assert_near(recording.name, "margin64_noisy", gap, wanted, 1e-2, 1e-5, suffix(keep_ignore))


@KEPT
def test_smallest_distance(recording: Recording, keep_ignore: bool) -> None:
    distances = recording.outputs[f"prob_small{suffix(keep_ignore)}"]
    found = maskige_decode(recording.inputs["small"], palette_of(recording, keep_ignore))
    assert_equal(recording.name, "prob_small, smallest", found, distances.argmin(1), suffix(keep_ignore))
