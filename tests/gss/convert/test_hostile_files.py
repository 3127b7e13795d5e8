"""Hostile checkpoint files: refused by name, nothing executed, little memory."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.gss.convert.checkpoint_files import archive, legacy, read, tensor_pickle


class Reduced:
    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


def attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Name -> a pickle that would make `marker` if it were executed, and what the refusal names."""
    shell, code = f"touch '{marker}'", f"open({str(marker)!r}, 'w').close()"
    system, evaluate = Reduced(os.system, (shell,)), Reduced(eval, (code,))
    hidden = pickle.dumps(evaluate, 2)
    name = f"{os.system.__module__}.system"
    line = shell.encode()
    return {
        **{f"system, protocol {n}": (pickle.dumps(system, n), name) for n in range(6)},
        **{f"eval, protocol {n}": (pickle.dumps(evaluate, n), "eval") for n in range(6)},
        "in a list in a dict": (pickle.dumps({"state_dict": [1, {"w": evaluate}]}, 2), "eval"),
        "as a key": (b"\x80\x02}" + hidden[2:-1] + b"K\x01s.", "eval"),
        "exec": (pickle.dumps(Reduced(exec, (code,)), 2), "exec"),
        "getattr": (pickle.dumps(Reduced(getattr, (1, "real")), 2), "getattr"),
        "loads of a pickle": (pickle.dumps(Reduced(pickle.loads, (hidden,)), 2), "loads"),
        "torch.load": (pickle.dumps(Reduced(torch.load, ("x",)), 2), "torch.serialization.load"),
        "decoding by name": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.", "Latin-1"),
        "INST": (b"(S'" + line.replace(b"'", b"\\'") + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'x'\no.", "os.system"),
        "dotted name": (b"\x80\x04\x8c\x05torch\x8c\x10_utils.os.system\x93.", "torch._utils.os.system"),
        "name through an allowed one": (
            b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.__init__.__cls__\x93.",
            "__init__",
        ),
        "a module that runs when imported": (b"\x80\x02chostile_on_import\nThing\n)R.", "hostile_on_import.Thing"),
        "extension code": (b"\x80\x02\x82\x01.", "EXT1"),
        "NEWOBJ_EX": (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        "call of a value": (b"\x80\x02K\x01)R.", "int"),
        "call of a storage class": (b"\x80\x02ctorch\nFloatStorage\n(K\x01tR.", "StorageType"),
        "state of a tensor's parts": (b"\x80\x02](K\x01K\x02tb.", "tuple"),
        "numpy objects": (pickle.dumps(np.array([evaluate], dtype=object), 2), "numpy.dtype"),
        "numpy records": (pickle.dumps(np.zeros(1, dtype=[("a", "f4")]), 2), "numpy.dtype"),
        "numpy number of wrong size": (pickle.dumps(np.float64(1), 2).replace(b"f8", b"f4"), "a numpy number"),
        "numpy function": (pickle.dumps(Reduced(np.load, (str(marker),)), 2), "load"),
        "numpy state of nonsense": (b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R(K\x03K\x04tb.", "byte order"),
        "numpy array without numbers": (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85N\x87R(K\x01)NNNtb.",
            "numpy.ndarray",
        ),
        "state of a number": (b"\x80\x02K\x01}b.", "int"),
        "out of band buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
        "text persistent id": (b"Pstorage\n.", "PERSID"),
        "foreign persistent id": (b"\x80\x02X\x01\x00\x00\x00aQ.", "persistent id"),
        "protocol of the future": (b"\x80\x09N.", "protocol 9"),
    }


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
@pytest.mark.parametrize("attack", list(attacks(Path("x"))))
def test_hostile_pickles_are_refused_by_name(
    form: str, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "hostile_on_import.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    pickled, named = attacks(marker)[attack]
    content = {"zip": archive, "legacy": legacy, "bare": bytes}[form](pickled)
    with pytest.raises(ValueError, match="not a readable torch checkpoint") as caught:
        read(tmp_path, content)
    assert named in str(caught.value)
    assert not marker.exists()
    assert "hostile_on_import" not in sys.modules


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


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (tensor_pickle(2**40, 0, (2**40,), (1,)), "claims 1099511627776 elements"),
        (tensor_pickle(2**80, 0, (1,), (1,)), "size or view"),
        (tensor_pickle(-4, 0, (1,), (1,)), "size or view"),
        (tensor_pickle(4, 2, (3,), (1,)), "reaches element 4 of a storage of 4"),
        (tensor_pickle(4, 0, (2,), (4,)), "reaches element 4"),
        (tensor_pickle(4, 0, (2**40,), (0,)), "1099511627776 elements in a storage of 4"),
        (tensor_pickle(4, -1, (1,), (1,)), "offset"),
        (tensor_pickle(4, 0, (-1,), (1,)), "size"),
        (tensor_pickle(4, 0, (0, 2**60), (1, 1)), "size"),
        (tensor_pickle(4, 0, (1,) * 100, (1,) * 100), "size"),
        (tensor_pickle(4, 0, (1, 1), (1,)), "2 sizes and 1 strides"),
        (tensor_pickle(4, 0, (1,), (1,), key="../secret"), "storage '../secret' is missing"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "only 4 remain"),
        (b"\x80\x02B\xff\xff\xff\x7fabc.", "bytes"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "empty"),
        (b"\x80\x02K\x01r\xff\xff\xff\x7fj\xfe\xff\xff\x7f.", "remembered"),
        (b"\x80\x02I" + b"9" * 10000 + b"\n.", "digits"),
        (b"\x80\x02}\x8a\x0a" + b"\x00" * 9 + b"\x01K\x01s.", "64 bits"),
        (b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.", "tuple as a dict key"),
    ],
)
def test_huge_claims_are_refused_in_little_memory(pickled: bytes, message: str, tmp_path: Path) -> None:
    content = archive(pickled, **{"0": bytes(16)})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_deep_nesting_is_harmless(tmp_path: Path) -> None:
    depth = 100_000
    nested = read(tmp_path, archive(b"\x80\x02)" + b"\x85" * depth + b"."))
    for _ in range(depth):
        (nested,) = nested
    assert nested == ()


def test_long_lists_cannot_be_copied_without_end(tmp_path: Path) -> None:
    many = b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x00" + b"c__builtin__\nset\nh\x00\x85R0" * 100 + b"."
    with pytest.raises(ValueError, match="more than 4000000 items or bytes"):
        read(tmp_path, archive(many))


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    """A zip bomb is compressed; torch.save never compresses."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("root/data.pkl", bytes(10 << 20))
    with pytest.raises(ValueError, match="'root/data.pkl' is compressed or encrypted"):
        read(tmp_path, stream.getvalue())


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    content = bytearray(archive(b"\x80\x02N.", **{"0": bytes(64), "1": bytes(64)}))
    entries = [i for i in range(len(content)) if content[i : i + 4] == b"PK\x01\x02"]
    content[entries[2] + 42 : entries[2] + 46] = content[entries[1] + 42 : entries[1] + 46]
    with pytest.raises(ValueError, match="overlaps another"):
        read(tmp_path, bytes(content))


def test_two_pickles_or_another_byte_order_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO(archive(b"\x80\x02N."))
    with zipfile.ZipFile(stream, "a") as target:
        target.writestr("root/byteorder", "big")
    with pytest.raises(ValueError, match="byte order"):
        read(tmp_path, stream.getvalue())
    with zipfile.ZipFile(stream, "a") as target:
        target.writestr("other/data.pkl", b"")
    with pytest.raises(ValueError, match="found 2"):
        read(tmp_path, stream.getvalue())
