"""Labels through the dVAE and back against tensors recorded from the official reconstruction evaluation (05_recon).

Set GSS_OFFICIAL_FIXTURES to the folder that holds it; without it these tests are skipped.
"""

from pathlib import Path

import pytest
import torch

from gss.reconstruction import reconstruct
from tests.official.recordings import assert_near, assert_same, files, head_model, load

FILES = files("05_recon*.npz")


def test_there_are_recordings() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reconstruction(path: Path) -> None:
    """The maskige has the size of the labels there, not twice that."""
    recording = load(path)
    model, _ = head_model(recording)
    wanted = recording.outputs["logits"]
    labels = torch.cat([recording.inputs[name] for name in sorted(recording.inputs)])[:, 0]
    found = reconstruct(model, labels, scale=1)
    assert_same("indices0", found.tokens[:1], recording.outputs["indices0"])
    scores = model.class_scores(found.painted, (labels.shape[-2], labels.shape[-1]))
    assert_near("logits", scores, wanted)
    boxed = reconstruct(model, labels, scale=1, box=(labels.shape[-2], labels.shape[-1]))
    assert_same("labels", boxed.labels, wanted.argmax(1))
