"""Full-size models against the names and shapes of the ten official configurations (12_official_keys)."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gss.convert.names import official_names, to_official
from gss.convert.official import convert_official
from gss.convert.recipes import choose_recipe
from tests.official.compare import assert_same
from tests.official.configurations import BRANCHES
from tests.official.recordings import by_name, files, load_json, require

FILES = files("12_official_keys/*.json")
INTEGERS = (".relative_position_index", ".num_batches_tracked")


def test_there_are_ten() -> None:
    require(FILES[0])
    assert len(FILES) == 10


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The file, and a state dict with its names and shapes on the meta device."""
    recorded = load_json(path)
    state = {
        name: torch.empty(shape, dtype=torch.int64 if name.endswith(INTEGERS) else torch.float32, device="meta")
        for name, shape in recorded["shapes"].items()
    }
    return recorded, state


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_all_names_and_shapes(path: Path) -> None:
    recorded, state = read(path)
    shapes = {name: tuple(shape) for name, shape in recorded["shapes"].items()}
    with torch.device("meta"):
        model = convert_official(state)
    prior, inverse = model.prior_config, model.inverse_config
    assert prior.pixel_branch == BRANCHES[recorded["head"]] and prior.swin_depth == recorded["swin_depth"]
    assert (inverse.depth if inverse.type == "window" else None) == recorded["post_swin_depth"]
    ours = model.state_dict()
    names = official_names(ours)
    official = {name: tuple(value.shape) for name, value in to_official(ours, names).items()}
    # Beside these there are the indices of relative positions, which follow from the windows.
    wanted = {name: shape for name, shape in shapes.items() if not name.endswith(INTEGERS[0])}
    assert_same("12_official_keys", f"{path.stem}, names and shapes", official, wanted)
    assert len(shapes) == recorded["n_keys"]
    parameters = {name: p.numel() for name, p in model.named_parameters() if name in names}
    assert sum(parameters.values()) == recorded["params"]
    for prefix, key in (("tokenizer.", "params_d_vae"), ("encoder.backbone.", "params_backbone")):
        assert sum(n for name, n in parameters.items() if name.startswith(prefix)) == recorded[key]


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_the_recipe_is_found(path: Path) -> None:
    """So that a run of the recipe can start from a converted checkpoint, and tests its photos alike."""
    require(path)
    match = re.fullmatch(r"gss-(ff|ft-w)_([^_]+)_.*_([^_]+)", path.stem)
    assert match
    head, backbone, data = match.groups()
    assert choose_recipe(read(path)[1]).name == f"official-{data}-{head}-{backbone}"
