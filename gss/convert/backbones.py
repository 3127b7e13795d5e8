"""Official backbone weights (mmseg's layout) into this project's backbones: Swin, ResNet-v1c and HRNetV2.

ResNet-v1c and HRNetV2 keep the published names of their weights; `gss.convert.swin` says what Swin changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gss.convert.names import BACKBONE, OUR_BACKBONE, from_official, official_names, sources
from gss.convert.state_dict import first, problems, state_dict_of
from gss.convert.swin import check_position_indices, resize_tables
from gss.io.checkpoints import read_checkpoint
from gss.model.backbones.image_encoder import OWN, ImageEncoder

# In ImageNet checkpoints beside the backbone: the classifier, its norm, and masks of the training resolution.
_CLASSIFIER = ("fc.", "head.", "norm.", "classifier.", "incre_modules.", "downsamp_modules.", "final_layer.")
_MASK = ".attn_mask"


def load_official_backbone(backbone: nn.Module, official: Mapping[str, Tensor], *, pretraining: bool = False) -> None:
    """Copy weights in the official layout into a backbone of ours, all of them or none.

    Args:
        backbone: transformers' SwinBackbone, ResNetV1c or HRNetV2: `ImageEncoder(...).backbone`.
        official: names without the `backbone.` prefix -> tensors. Counters of batches may be left out.
        pretraining: `official` comes from an ImageNet classifier: what belongs to the classifier is left out, the norms
            of Swin's maps may be missing and then stay as they are, tables of relative positions are resized.

    Raises:
        ValueError: weights that are missing, unexpected, of another shape or no floating numbers, in one message.
    """
    swin = getattr(getattr(backbone, "config", None), "model_type", None) == "swin"
    state = backbone.state_dict()
    names = official_names(OUR_BACKBONE + name for name in state)
    shapes = {
        name.removeprefix(BACKBONE): _joined_shape([state[key.removeprefix(OUR_BACKBONE)] for key in ours])
        for name, ours in sources(names).items()
    }
    given = dict(official)
    if pretraining:
        given = {k: v for k, v in given.items() if not k.startswith(_CLASSIFIER) and not k.endswith(_MASK)}
    wrong = check_position_indices(given) if swin else []
    if swin:
        given = {k: v for k, v in given.items() if not k.endswith(".relative_position_index")}
        given = resize_tables(given, shapes) if pretraining else given
    optional = {name for name in shapes if name.endswith(".num_batches_tracked")}
    if pretraining and swin:
        norms = {name for name in shapes if name.startswith("norm")}
        optional |= norms if norms.isdisjoint(given) else set()
    found = problems(given, shapes, optional)
    found += [f"{len(wrong)} with another order of relative positions: {first(wrong)}"] if wrong else []
    if found:
        raise ValueError(f"the weights do not fit {type(backbone).__name__}: {'; '.join(found)}")
    converted = from_official({BACKBONE + name: value for name, value in given.items()}, names)
    backbone.load_state_dict(state | {name.removeprefix(OUR_BACKBONE): value for name, value in converted.items()})


def load_pretrained(encoder: ImageEncoder, name: str) -> None:
    """Start an encoder from published weights.

    Args:
        name: a folder or a Hugging Face repository in transformers' layout, or a file in the layout of official
            checkpoints. All weights for "resnet_v1c" and "hrnet_v2" are such files.

    Raises ValueError if the checkpoint lacks weights that this configuration has, or has them in another shape.
    """
    if Path(name).is_file() or isinstance(encoder.backbone, tuple(OWN.values())):
        load_pretrained_file(encoder.backbone, name)
    else:
        encoder.load_pretrained(name)


def load_pretrained_file(backbone: nn.Module, path: str | Path) -> None:
    """Start a backbone from an ImageNet checkpoint file in mmseg's layout, e.g. of open-mmlab's model zoo.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file that `gss.io.checkpoints.read_checkpoint` takes, or weights that do not fit.
    """
    content = read_checkpoint(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict) and "state_dict" not in content:
        content = content["model"]
    try:
        weights = {name.removeprefix("backbone."): value for name, value in state_dict_of(content).items()}
        load_official_backbone(backbone, weights, pretraining=True)
    except ValueError as error:
        raise ValueError(f"pretrained: {path}: {error}") from error


def _joined_shape(parts: list[Tensor]) -> torch.Size:
    """The shape of the tensor whose equal slices along the first dimension are `parts`."""
    shape = list(parts[0].shape)
    return torch.Size([shape[0] * len(parts), *shape[1:]]) if shape else torch.Size()
