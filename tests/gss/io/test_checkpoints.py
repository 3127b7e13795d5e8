"""The restricted reader: what torch.save writes comes back, damaged files give a ValueError and nothing else."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gss.io.checkpoints import Inert, read_checkpoint
from tests.gss.io.checkpoint_files import archive, example, legacy, read, same, saved, tensor_pickle

FORMS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FORMS
def test_what_torch_saves_comes_back(zipped: bool, tmp_path: Path) -> None:
    wanted = example()
    got = read(tmp_path, saved(wanted, zipped))
    assert same(got, wanted)
    assert isinstance(got["state_dict"], OrderedDict)
    # Two views of one storage still share it, and writing leaves the file alone.
    got["state_dict"]["a"][0, 2] = 99
    assert got["state_dict"]["b"][0, 0] == 99
    assert same(read_checkpoint(tmp_path / "file.pth"), wanted)


@FORMS
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_pickle_protocols(zipped: bool, protocol: int, tmp_path: Path) -> None:
    wanted, path = example(), tmp_path / "file.pth"
    torch.save(wanted, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert same(read_checkpoint(path), wanted)


@FORMS
def test_the_attributes_of_a_state_dict_do_not_hinder(zipped: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    got = read(tmp_path, saved([module.state_dict(), optimizer.state_dict()], zipped))
    assert same(got[0], module.state_dict())
    assert same(got[1], optimizer.state_dict())


@FORMS
def test_other_classes_are_inert(zipped: bool, tmp_path: Path) -> None:
    """Numbers and arrays of numpy are left beside the weights by training tools; nothing here reads them."""
    numpy = {"score": np.float64(0.78), "done": np.bool_(True), "palette": np.arange(6, dtype=">i2").reshape(2, 3)}
    got = read(tmp_path, saved({**numpy, "weight": torch.ones(2)}, zipped))
    assert all(isinstance(got[name], Inert) for name in numpy) and torch.equal(got["weight"], torch.ones(2))
    module = torch.nn.Sequential(torch.nn.MaxPool2d(2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.MaxPool2d(3)))
    module.register_parameter("weight", torch.nn.Parameter(torch.arange(3.0)))
    got = read(tmp_path, saved([module, module], zipped))
    assert got[0] is got[1] and isinstance(got[0], Inert) and type(got[0]).__name__ == "Sequential"
    assert torch.equal(got[0].attributes["_parameters"]["weight"], module.weight)
    inner = got[0].attributes["_modules"]["1"].attributes["_modules"]["1"]
    assert type(inner).__module__ == "torch.nn.modules.pooling" and inner.attributes["kernel_size"] == 3
    with pytest.raises(ValueError, match=r"'torch\.nn\.modules\.linear\.Linear' is not allowed"):
        read(tmp_path, saved(torch.nn.Linear(2, 3), zipped))


@FORMS
def test_truncated_anywhere(zipped: bool, tmp_path: Path) -> None:
    content = saved(example(), zipped)
    for length in {*range(0, len(content), 37), *range(64), *range(len(content) - 64, len(content))}:
        with pytest.raises(ValueError, match=r"file\.pth: not a readable torch checkpoint"):
            read(tmp_path, content[:length])


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"hello\n" * 50, b"PK\x03\x04", b"\x80\x02K\x01."])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a readable torch checkpoint"):
        read(tmp_path, content)


def test_missing_files_stay_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.pth")


def readable_or_refused(tmp_path: Path, content: bytes) -> None:
    """Any other exception fails the test."""
    try:
        read(tmp_path, content)
    except ValueError as error:
        assert "not a readable torch checkpoint" in str(error) and "\n" not in str(error)


@FORMS
@EXAMPLES
@given(data=st.data())
def test_damaged_files(zipped: bool, data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(saved([example(), torch.nn.Sequential(torch.nn.ReLU())], zipped))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    readable_or_refused(tmp_path, bytes(content))


INSTRUCTIONS = [
    *[
        b"K\x01",
        b"K\x00",
        b"N",
        b"\x88",
        b"(",
        b"t",
        b")",
        b"\x85",
        b"\x86",
        b"]",
        b"a",
        b"e",
        b"}",
        b"s",
        b"u",
        b"\x8f",
    ],
    *[b"\x90", b"\x91", b"0", b"1", b"2", b"q\x00", b"h\x00", b"\x94", b"R", b"\x81", b"b", b"Q"],
    b"X\x07\x00\x00\x00storage",
    *[f"c{name}\n".encode() for name in ("torch\nSize", "torch\nFloatStorage", "torch\ndevice", "_codecs\nencode")],
    *[f"c{name}\n".encode() for name in ("collections\nOrderedDict", "__builtin__\nset", "__builtin__\nbytes")],
    *[f"ctorch._utils\n_rebuild_{name}\n".encode() for name in ("tensor_v2", "parameter")],
    b"ctorch.nn.modules.activation\nReLU\n",
    tensor_pickle(4, 0, (4,), (1,))[2:-1],
]


@EXAMPLES
@given(pickled=st.lists(st.sampled_from(INSTRUCTIONS), max_size=40).map(b"".join))
def test_any_sequence_of_instructions(pickled: bytes, tmp_path: Path) -> None:
    readable_or_refused(tmp_path, archive(b"\x80\x02" + pickled + b".", **{"0": bytes(16)}))
    readable_or_refused(tmp_path, legacy(b"\x80\x02" + pickled + b"."))
