"""DALL-E weights from whole pickled modules and from state dicts."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from gss.config import DalleConfig
from gss.convert.dalle import dalle_from_state, module_state, official_name, read_dalle
from gss.io.checkpoints import Inert
from gss.model.tokenizers.dalle import DalleTokenizer

CONFIG = DalleConfig(codes=12, encoder_width=8, decoder_width=4, code_dim=5, encoder_blocks=2, decoder_blocks=3)


def official_state(config: DalleConfig = CONFIG) -> tuple[DalleTokenizer, dict[str, Tensor]]:
    torch.manual_seed(0)
    tokenizer = DalleTokenizer(config).eval()
    return tokenizer, {official_name(name): tensor for name, tensor in tokenizer.state_dict().items()}


def assert_same(got: DalleTokenizer, wanted: DalleTokenizer) -> None:
    assert got.config == wanted.config
    ours, theirs = got.state_dict(), wanted.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_state_dict() -> None:
    tokenizer, state = official_state()
    got = dalle_from_state(state)
    assert_same(got, tokenizer)
    assert not got.training and not any(parameter.requires_grad for parameter in got.parameters())
    # No memory is shared: what happens to the checkpoint afterwards does not matter.
    state["encoder.blocks.input.b"].fill_(7)
    assert not (got.encoder.input.bias == 7).any()


def test_weights_become_float32() -> None:
    _, state = official_state()
    got = dalle_from_state({key: value.half() for key, value in state.items()})
    assert {parameter.dtype for parameter in got.parameters()} == {torch.float32}


def test_every_problem_is_listed() -> None:
    _, state = official_state()
    del state["encoder.blocks.group_2.block_1.id_path.w"]
    state["decoder.blocks.group_5.block_1.id_path.w"] = torch.ones(1)
    state["encoder.blocks.output.conv.b"] = torch.ones(13)
    state["decoder.blocks.output.conv.b"] = torch.ones(6, dtype=torch.int64)
    with pytest.raises(ValueError) as caught:
        dalle_from_state(state)
    message = str(caught.value)
    assert "1 missing: encoder.blocks.group_2.block_1.id_path.w" in message
    assert "1 unexpected: decoder.blocks.group_5.block_1.id_path.w" in message
    assert "1 of another shape: encoder.blocks.output.conv.b (13,) instead of (12,)" in message
    assert "1 no floating numbers: decoder.blocks.output.conv.b (torch.int64)" in message


@pytest.mark.parametrize(("value", "message"), [(None, "missing decoder.blocks.input.w"), (torch.ones(3), "shape")])
def test_weights_that_decide_the_size(value: Tensor | None, message: str) -> None:
    _, state = official_state()
    del state["decoder.blocks.input.w"]
    if value is not None:
        state["decoder.blocks.input.w"] = value
    with pytest.raises(ValueError, match=message):
        dalle_from_state(state)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[nn.Module]]:
    """Classes with the names of those in the published files, importable only as long as the test writes them."""
    classes: dict[str, type[nn.Module]] = {}
    for module, names in {"encoder": ["Encoder", "EncoderBlock"], "decoder": ["Decoder"], "utils": ["Conv2d"]}.items():
        fake = ModuleType(f"dall_e.{module}")
        for name in names:
            classes[name] = type(name, (nn.Module,), {"__module__": fake.__name__})
            setattr(fake, name, classes[name])
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setitem(sys.modules, "dall_e", ModuleType("dall_e"))
    return classes


def whole_module(state: dict[str, Tensor], part: str, classes: dict[str, type[nn.Module]]) -> nn.Module:
    """A tree of modules with the parameters of `part` under their official names."""
    root = classes[part.capitalize()]()
    root.device = torch.device("cpu")
    for key, value in state.items():
        owner, *path, name = key.split(".")
        if owner != part:
            continue
        module = root
        for depth, child in enumerate(path):
            if child not in module._modules:
                last = depth == len(path) - 1
                module.add_module(child, classes["Conv2d"]() if last else nn.Sequential())
            module = module._modules[child]
        module.register_parameter(name, nn.Parameter(value.clone()))
    root.blocks.group_1.add_module("pool", nn.MaxPool2d(2))
    root.blocks.group_1.add_module("upsample", nn.Upsample(scale_factor=2))
    root.blocks.group_1.add_module("relu", nn.ReLU())
    root.blocks.group_1.add_module("same", nn.Identity())
    return root


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_whole_modules(
    zipped: bool, package: dict[str, type[nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, state = official_state()
    for part in ("encoder", "decoder"):
        module = whole_module(state, part, package)
        torch.save(module, tmp_path / f"{part}.pkl", _use_new_zipfile_serialization=zipped)
    for name in ("dall_e", "dall_e.encoder", "dall_e.decoder", "dall_e.utils"):
        monkeypatch.delitem(sys.modules, name)
    assert_same(read_dalle(tmp_path / "encoder.pkl", tmp_path / "decoder.pkl"), tokenizer)
    assert "dall_e" not in sys.modules
    with pytest.raises(ValueError, match=r"missing encoder\.blocks\.output\.conv\.w|do not fit"):
        read_dalle(tmp_path / "decoder.pkl", tmp_path / "encoder.pkl")


def test_another_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "encoder.pkl")
    with pytest.raises(ValueError, match=r"encoder\.pkl: .*'torch\.nn\.modules\.linear\.Linear' is not allowed"):
        read_dalle(tmp_path / "encoder.pkl", tmp_path / "decoder.pkl")


@pytest.mark.parametrize("content", [[1], {"a": 1}, {1: torch.ones(1)}, {"state_dict": {"a": "b"}}, 3])
def test_no_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "encoder.pkl")
    with pytest.raises(ValueError, match=r"encoder\.pkl: expected a"):
        read_dalle(tmp_path / "encoder.pkl", tmp_path / "decoder.pkl")


def inert(**attributes: object) -> Inert:
    module = Inert()
    module.attributes = attributes
    return module


def module(**modules: object) -> Inert:
    return inert(_parameters={}, _buffers={}, _modules=modules)


def test_odd_modules_are_refused() -> None:
    shared, loop = module(), module()
    loop.attributes["_modules"] = {"itself": loop}
    for odd, message in (
        (module(a=shared, b=shared), "appears twice"),
        (loop, "appears twice"),
        (module(a=3), "expected a module, got int"),
        (inert(), "_parameters are no dict"),
        (inert(_parameters={"w": "text"}, _buffers={}, _modules={}), "expected a tensor, got str"),
    ):
        with pytest.raises(ValueError, match=message):
            module_state(odd)
