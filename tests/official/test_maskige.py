"""Encode and decode against tensors recorded from the official implementation.

Set GSS_OFFICIAL_FIXTURES to the folder that holds 01_maskige_*.npz; without it these tests are skipped.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gsskernels import maskige_decode, maskige_encode

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")
FILES = sorted(Path(FOLDER).glob("01_maskige_*.npz")) if FOLDER else []


def test_there_are_recordings() -> None:
    assert FILES, f"no 01_maskige_*.npz in {FOLDER}"


@pytest.fixture(params=FILES, ids=lambda p: p.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(request.param) as arrays:
        content: dict[str, Any] = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta_json"}
        config = json.loads(bytes(arrays["meta_json"]).decode())["cfg"]
    # The official palette ends with the ignore colour; decoding drops it unless keep_ignore_index is set.
    content["with_ignore"] = torch.tensor(config["palette"])
    content["num_classes"] = config["num_classes"]
    return content


def test_encode(recorded: dict[str, Any]) -> None:
    palette = recorded["with_ignore"]
    classes, ignore = palette[:-1], tuple(palette[-1].tolist())
    labels = recorded["in/labels"][:, 0]
    # Labels K, 255 and everything between are the last palette row in the official code.
    got = maskige_encode(labels, classes, ignore_color=ignore, dtype=torch.uint8)
    assert torch.equal(got, recorded["out/encoded"])
    got = maskige_encode(labels.to(torch.uint8), classes, ignore_color=ignore, dtype=torch.uint8)
    assert torch.equal(got, recorded["out/encoded_from_uint8"])
    assert torch.equal(maskige_encode(labels, classes, ignore_color=ignore), recorded["out/encoded"].float())


@pytest.mark.parametrize("keep_ignore", [False, True])
@pytest.mark.parametrize("name", ["clean", "noisy", "ties"])
def test_decode(recorded: dict[str, Any], name: str, keep_ignore: bool) -> None:
    palette = recorded["with_ignore"] if keep_ignore else recorded["with_ignore"][:-1]
    assert len(palette) == recorded["num_classes"] + keep_ignore
    suffix = "_keep_ignore" if keep_ignore else ""
    maskige = recorded["out/encoded"] if name == "clean" else recorded[f"in/{name}"]
    wanted = recorded[f"out/decode_{name}{suffix}"][:, 0]
    assert torch.equal(maskige_decode(maskige, palette), wanted)
    assert torch.equal(maskige_decode(maskige.float(), palette.float()), wanted)


@pytest.mark.parametrize("keep_ignore", [False, True])
def test_margin(recorded: dict[str, Any], keep_ignore: bool) -> None:
    """The recorded gap of squared distances is the margin times twice the distance between the two colours."""
    palette = recorded["with_ignore"] if keep_ignore else recorded["with_ignore"][:-1]
    noisy = recorded["in/noisy"]
    labels, margin = maskige_decode(noisy, palette, margin=True)
    squared = ((noisy.double()[:, None] - palette.double()[:, :, None, None]) ** 2).sum(2)
    runner_up = squared.scatter(1, labels.long()[:, None], torch.inf).argmin(1)
    between = (palette[labels.long()] - palette[runner_up]).double().norm(dim=-1)
    gap = recorded["out/margin64_noisy" + ("_keep_ignore" if keep_ignore else "")]
    torch.testing.assert_close(margin.double() * 2 * between, gap, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("keep_ignore", [False, True])
def test_smallest_distance(recorded: dict[str, Any], keep_ignore: bool) -> None:
    palette = recorded["with_ignore"] if keep_ignore else recorded["with_ignore"][:-1]
    distances = recorded["out/prob_small" + ("_keep_ignore" if keep_ignore else "")]
    assert torch.equal(maskige_decode(recorded["in/small"], palette).long(), distances.argmin(1))
