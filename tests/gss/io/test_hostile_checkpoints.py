"""Hostile checkpoint files: refused by name, nothing executed, little memory."""

import io
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.gss.io.checkpoint_files import archive, legacy, read, tensor_pickle


class Reduced:
    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


def attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Name -> a pickle that would make `marker` if it were executed, and a part of the refusal."""
    shell, code = f"touch '{marker}'", f"open({str(marker)!r}, 'w').close()"
    system, evaluate = Reduced(os.system, (shell,)), Reduced(eval, (code,))
    hidden = pickle.dumps(evaluate, 2)
    line = shell.encode().replace(b"'", b"\\'")
    codec = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00HEX\x86R."
    return {
        **{f"system, protocol {n}": (pickle.dumps(system, n), f"{os.system.__module__}.system") for n in range(6)},
        **{f"eval, protocol {n}": (pickle.dumps(evaluate, n), "eval") for n in range(6)},
        "in a list in a dict": (pickle.dumps({"state_dict": [1, {"w": evaluate}]}, 2), "eval"),
        "as a key": (b"\x80\x02}" + hidden[2:-1] + b"K\x01s.", "eval"),
        "exec": (pickle.dumps(Reduced(exec, (code,)), 2), "exec"),
        "getattr": (pickle.dumps(Reduced(getattr, (1, "real")), 2), "getattr"),
        "loads of a pickle": (pickle.dumps(Reduced(pickle.loads, (hidden,)), 2), "loads"),
        "torch.load": (pickle.dumps(Reduced(torch.load, ("x",)), 2), "torch.serialization.load"),
        "a codec that doubles": (codec, "another codec than latin1"),
        "INST": (b"(S'" + line + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'x'\no.", "os.system"),
        "a module that runs when imported": (b"\x80\x02chostile_on_import\nThing\n)R.", "hostile_on_import.Thing"),
        "name below an allowed one": (b"\x80\x02ccollections\nOrderedDict.__init__\n)R.", "OrderedDict.__init__"),
        "name of the rewriting": (b"\x80\x02cgss\nmodule\n)R.", "gss.module"),
        "tensors of unchecked indices": (b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n)R.", "sparse"),
        "memory of any size": (pickle.dumps(Reduced(bytearray, (1 << 40,)), 2), "bytearray"),
        "extension code": (b"\x80\x02\x82\x01.", "130"),
        "name from the stack": (b"\x80\x02\x8c\x02os\x8c\x06system\x93.", "140"),
        "call of a value": (b"\x80\x02K\x01)R.", "unrecognized function 1"),
        "call of a storage class": (b"\x80\x02ctorch\nFloatStorage\n(K\x01tR.", ""),
        "state of a list": (b"\x80\x02](K\x01K\x02tb.", "list"),
        "state of a class": (b"\x80\x02cnumpy\ndtype\n}b.", "type"),
        "numpy objects": (pickle.dumps(np.array([evaluate], dtype=object), 2), "eval"),
        "numpy function": (pickle.dumps(Reduced(np.load, (str(marker),)), 2), "load"),
        "text persistent id": (b"Pstorage\n.", "80"),
        "foreign persistent id": (b"\x80\x02X\x01\x00\x00\x00aQ.", "tuple or int"),
    }


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
@pytest.mark.parametrize("attack", list(attacks(Path("x"))))
def test_hostile_pickles_are_refused(form: str, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "hostile_on_import.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    pickled, named = attacks(marker)[attack]
    content = {"zip": archive, "legacy": legacy, "bare": bytes}[form](pickled)
    with pytest.raises(ValueError, match="not a readable torch checkpoint") as caught:
        read(tmp_path, content)
    assert (named if form != "bare" else "neither a zip archive nor") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    assert "hostile_on_import" not in sys.modules
    assert not any(isinstance(allowed, tuple) for allowed in torch.serialization.get_safe_globals())


def test_the_attacks_would_work_on_an_ordinary_unpickler(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    marker = tmp_path / "executed"
    for attack in ("system, protocol 2", "eval, protocol 4", "in a list in a dict", "INST"):
        pickle.loads(attacks(marker)[attack][0])
        assert marker.exists()
        marker.unlink()


def test_claims_that_hold(tmp_path: Path) -> None:
    content = archive(tensor_pickle(4, 1, (3,), (1,)), **{"0": struct.pack("<4f", 1, 2, 3, 4)})
    assert read(tmp_path, content).tolist() == [2, 3, 4]


@pytest.mark.parametrize("form", [archive, legacy])
@pytest.mark.parametrize(
    "pickled",
    [
        tensor_pickle(2**40, 0, (2**40,), (1,)),
        tensor_pickle(-4, 0, (1,), (1,)),
        tensor_pickle(4, 2, (3,), (1,)),
        tensor_pickle(4, 0, (2,), (4,)),
        tensor_pickle(4, 0, (2**40,), (1,)),
        tensor_pickle(4, -1, (1,), (1,)),
        tensor_pickle(4, 0, (-1,), (1,)),
        tensor_pickle(4, 0, (1, 1), (1,)),
        tensor_pickle(4, 0, (1,), (1,), key="../secret"),
        b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x80\x02B\xff\xff\xff\x7fabc.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02K\x01r\xff\xff\xff\x7fj\xfe\xff\xff\x7f.",
        b"\x80\x02I" + b"9" * 10000 + b"\n.",
        b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
    ],
)
def test_huge_claims_are_refused_in_little_memory(pickled: bytes, form: Callable[..., bytes], tmp_path: Path) -> None:
    content = form(pickled, **{"0": bytes(16)}) if form is archive else form(pickled)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="not a readable torch checkpoint"):
        read(tmp_path, content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_a_storage_ends_with_its_file(tmp_path: Path) -> None:
    """torch.load ignores the size that a zip file claims for a storage, and only views what is there."""
    content = archive(tensor_pickle(2**80, 0, (1,), (1,)), **{"0": bytes(16)})
    assert read(tmp_path, content).untyped_storage().nbytes() < len(content)


def test_deep_nesting_is_harmless(tmp_path: Path) -> None:
    depth = 100_000
    nested = read(tmp_path, archive(b"\x80\x02)" + b"\x85" * depth + b"."))
    for _ in range(depth):
        (nested,) = nested
    assert nested == ()


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    """A zip bomb is compressed; torch.save never compresses."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("root/data.pkl", b"\x80\x02N.", zipfile.ZIP_STORED)
        target.writestr("root/big", bytes(10 << 20))
    with pytest.raises(ValueError, match="'root/big' is compressed or encrypted"):
        read(tmp_path, stream.getvalue())


def test_entries_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    content = bytearray(archive(b"\x80\x02N.", **{str(key): bytes(1 << (12 * (key == 0))) for key in range(3)}))
    entries = [i for i in range(len(content)) if content[i : i + 4] == b"PK\x01\x02"]
    for entry in entries[3:]:  # all of them the large one
        content[entry + 20 : entry + 28] = content[entries[2] + 20 : entries[2] + 28]
        content[entry + 42 : entry + 46] = content[entries[2] + 42 : entries[2] + 46]
    with pytest.raises(ValueError, match="its entries overlap"):
        read(tmp_path, bytes(content))


def test_two_pickles_are_refused(tmp_path: Path) -> None:
    for name, message in (("other/data.pkl", "found 2"), ("root/DATA.pkl", "two entries of one name")):
        stream = io.BytesIO(archive(b"\x80\x02N."))
        with zipfile.ZipFile(stream, "a") as target:
            target.writestr(name, b"")
        with pytest.raises(ValueError, match=message):
            read(tmp_path, stream.getvalue())
