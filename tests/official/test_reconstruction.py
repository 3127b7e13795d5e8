"""Labels through the dVAE and back against the official reconstruction evaluation (05_recon*.npz)."""

from pathlib import Path

import pytest
import torch

from gss.model.codec import reconstruct
from tests.official.compare import assert_equal, assert_near
from tests.official.recordings import by_name, files, head_model, load


@pytest.mark.parametrize("path", files("05_recon*.npz"), ids=by_name)
def test_reconstruction(path: Path) -> None:
    """The maskige has the size of the labels there, not twice that."""
    recording = load(path)
    model, _ = head_model(recording)
    wanted = recording.outputs["logits"]
    labels = torch.cat([recording.inputs[name] for name in sorted(recording.inputs)])[:, 0]
    found = reconstruct(model, labels, scale=1)
    assert_equal(recording.name, "indices0", found.tokens[:1], recording.outputs["indices0"])
    scores = model.class_scores(found.painted, (labels.shape[-2], labels.shape[-1]))
    assert_near(recording.name, "logits", scores, wanted)
    boxed = reconstruct(model, labels, scale=1, box=(labels.shape[-2], labels.shape[-1]))
    assert_equal(recording.name, "labels", boxed.labels, wanted.argmax(1))
