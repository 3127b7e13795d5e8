"""Heads against the official ones (05_*_head.npz, 06_*_head.npz): test path, losses, gradients, batch norm."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gss.convert.names import official_names, to_official
from gss.model.codec import maskige_labels
from gss.model.gss import GSS
from gss.training.losses import upsampled_cross_entropy
from gss.training.stages import InverseTraining, PriorTraining
from tests.official.compare import assert_equal, assert_near, assert_same
from tests.official.configurations import loss_weights
from tests.official.recordings import Recording, by_name, files, head_model, head_of, load

FF = files("05_ff_head*.npz", "05_ffsf_head*.npz")
FTW = files("06_ftw_head*.npz")
NOISE_OF_COLORS = 2e-3
NOISE_OF_LOGITS = 1e-4
MODES = ["train_eval", "train_train"]


def maps_of(recording: Recording) -> list[Tensor]:
    count = sum(name.startswith("feat") for name in recording.inputs)
    return [recording.inputs[f"feat{level}"].clone() for level in range(count)]


def accuracy(found: Tensor, wanted: Tensor, ignored: int) -> Tensor:
    """Per cent of what is labelled."""
    return 100 * (found == wanted)[wanted != ignored].float().mean()


def official_gradients(model: GSS, order: tuple[int, ...]) -> dict[str, Tensor]:
    """Gradients that exist, under official names and layout, below decode_head."""
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    official = to_official(gradients, official_names(gradients, order), order)
    return {name.removeprefix("decode_head."): value for name, value in official.items()}


def assert_loss(recording: Recording, mode: str, name: str, loss: Tensor) -> None:
    assert_near(recording.name, f"{mode} losses", loss, recording.outputs[f"{mode}.{name}"], member=name)


def assert_gradients(recording: Recording, mode: str, gradients: dict[str, Tensor]) -> None:
    """Those of all parameters that have one, and of no other."""
    recorded = {n: g for n, g in recording.group(f"{mode}.grad:").items() if not n.startswith("feat")}
    assert_same(recording.name, f"{mode} parameters with gradients", set(gradients), set(recorded))
    for name, wanted in recorded.items():
        assert_near(recording.name, f"{mode} gradients of parameters", gradients[name], wanted, member=name)


def assert_buffers(recording: Recording, mode: str, model: GSS, order: tuple[int, ...]) -> None:
    state = model.state_dict()
    official = to_official(state, official_names(state, order), order)
    for name, wanted in recording.group(f"{mode}.bn:").items():
        got = official[f"decode_head.{name}"]
        compare = assert_near if wanted.is_floating_point() else assert_equal
        compare(recording.name, f"{mode} buffers of batch norm", got, wanted, member=name)


@pytest.mark.parametrize("path", FF + FTW, ids=by_name)
def test_trunk_and_tokens(path: Path) -> None:
    recording = load(path)
    model, _ = head_model(recording)
    wanted = recording.group("test.")
    with torch.no_grad():
        fused, hidden = model.trunk(maps_of(recording))
        assert_near(recording.name, "aggregated", fused, wanted["aggregated"])
        x = fused.permute(0, 2, 3, 1)
        for block in model.trunk.blocks:
            x = block(x)
        assert_near(recording.name, "after_transformer", x.flatten(1, 2), wanted["after_transformer"])
        assert_near(recording.name, "after_swin_ln", model.trunk.norm(x).flatten(1, 2), wanted["after_swin_ln"])
        head = model.token_head
        logits = torch.einsum("bchw,vc->bvhw", hidden, head.weight) + head.bias[:, None, None]
        assert_near(recording.name, "vq_logits", logits, wanted["vq_logits"])
        assert_equal(recording.name, "vq_indices", head.tokens(hidden), wanted["vq_indices"][:, 0])


@pytest.mark.parametrize("path", FF, ids=by_name)
def test_ff_class_map(path: Path) -> None:
    recording = load(path)
    model, _ = head_model(recording)
    with torch.no_grad():
        _, maskige = model.paint(maps_of(recording))
        assert_near(
            recording.name, "rec_segmap", maskige * 255, recording.outputs["test.rec_segmap"], atol=NOISE_OF_COLORS
        )
        decoded = model.classify(maskige)
        # A colour that is as near a wall between two classes as the recorded colours are exact may fall on either side.
        clear = decoded.margin > 3**0.5 * NOISE_OF_COLORS
        assert clear.float().mean() > 0.99
        assert_equal(
            recording.name, "class_map, clear", decoded.labels[clear], recording.outputs["test.class_map"][clear]
        )
        recorded = model.maskige.decode(recording.outputs["test.rec_segmap"] / 255)
    assert_equal(
        recording.name, "class_map of the recorded maskige", recorded.labels, recording.outputs["test.class_map"]
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", FF, ids=by_name)
def test_ff_training(path: Path, mode: str) -> None:
    recording = load(path)
    model, order = head_model(recording)
    wanted = recording.group(f"{mode}.")
    labels = recording.inputs["gt"][:, 0]
    stage = PriorTraining(model, torch.ones(model.palette.num_classes)).train(mode == "train_train")
    maps = [feature.requires_grad_() for feature in maps_of(recording)]
    fused, hidden = model.trunk(maps)
    losses = stage.losses(maps, fused, hidden, labels)
    losses["loss"].backward()
    config = model.prior_config
    assert_loss(recording, mode, "loss:loss_ce", config.token_loss * losses["token"])
    assert_loss(recording, mode, "loss:loss_ce_pixel", config.pixel_loss * losses["pixel"])
    assert_loss(recording, mode, "loss_total", losses["loss"])
    for level, feature in enumerate(maps):
        assert feature.grad is not None
        assert_near(
            recording.name, f"{mode} gradients of maps", feature.grad, wanted[f"grad:feat{level}"], member=f"{level}"
        )
    assert_gradients(recording, mode, official_gradients(model, order))
    assert_buffers(recording, mode, model, order)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", FF, ids=by_name)
def test_ff_targets(path: Path, mode: str) -> None:
    recording = load(path)
    model, _ = head_model(recording)
    wanted = recording.group(f"{mode}.")
    labels = recording.inputs["gt"][:, 0]
    stage = PriorTraining(model, torch.ones(model.palette.num_classes)).train(mode == "train_train")
    with torch.no_grad():
        maps = maps_of(recording)
        fused, hidden = model.trunk(maps)
        resized = maskige_labels(model, labels, hidden.shape[-2:])
        assert_equal(recording.name, f"{mode} gt_resized", resized, wanted["gt_resized"][:, 0])
        logits = stage.pixel_head(maps, fused)
        _, classes = upsampled_cross_entropy(logits, resized, stage.class_weights)
        completed = torch.where(resized != 255, resized.long(), classes)
        assert_equal(recording.name, f"{mode} gt_for_recon", completed, wanted["gt_for_recon"][:, 0])
        tokens = stage.completed_tokens(resized, classes)
        assert_equal(recording.name, f"{mode} raw_indices", tokens, wanted["raw_indices"])
        masked = torch.where(stage.cell_weights(resized, model.tokenizer.stride) > 0, tokens, model.tokenizer.codes)
        assert_equal(recording.name, f"{mode} masked_indices", masked, wanted["masked_indices"][:, 0])
        right = accuracy(model.token_head.tokens(hidden), masked, model.tokenizer.codes)
        assert_near(recording.name, f"{mode} accuracies", right, wanted["loss:acc_seg_indice"])
        assert_near(recording.name, f"{mode} accuracies", accuracy(classes, resized, 255), wanted["loss:acc_seg_aux"])


@pytest.mark.parametrize("path", FTW, ids=by_name)
def test_ftw_logits(path: Path) -> None:
    recording = load(path)
    model, _ = head_model(recording)
    with torch.no_grad():
        _, maskige = model.paint(maps_of(recording))
        assert_near(recording.name, "rec01", maskige, recording.outputs["test.rec01"], atol=1e-5)
        logits = model.class_scores(maskige, tuple(maskige.shape[-2:]))
    wanted = recording.outputs["test.seg_logits"]
    assert_near(recording.name, "seg_logits", logits, wanted)
    best = wanted.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 2 * NOISE_OF_LOGITS * (1 + best[:, 0].abs())
    assert clear.float().mean() > 0.99
    assert_equal(recording.name, "classes, clear", model.classify(maskige).labels[clear], wanted.argmax(1)[clear])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", FTW, ids=by_name)
def test_ftw_training(path: Path, mode: str) -> None:
    """In training mode the official trunk is too, so that its batch norm statistics move."""
    recording = load(path)
    model, order = head_model(recording)
    wanted = recording.group(f"{mode}.")
    weights = torch.ones(model.palette.num_classes)
    stage = InverseTraining(model, weights, official_parity=True).train(mode == "train_train")
    maps, labels = maps_of(recording), recording.inputs["gt"][:, 0]
    loss = stage.losses(maps, labels)["loss"]
    # Official configurations may list several losses of the same logits: each is this loss times its weight.
    scale = loss_weights(head_of(recording))
    for name, weight in scale.items():
        assert_loss(recording, mode, f"loss:{name}", weight * loss)
    total = sum(scale.values()) * loss
    total.backward()
    assert_loss(recording, mode, "loss_total", total)
    assert_gradients(recording, mode, official_gradients(model, order))
    assert_buffers(recording, mode, model, order)
    with torch.no_grad():
        found = model.classify(model.paint(maps)[1], (labels.shape[-2], labels.shape[-1])).labels
    assert_near(recording.name, f"{mode} accuracies", accuracy(found, labels, 255), wanted["loss:acc_seg"])
