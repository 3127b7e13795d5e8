"""Checkpoint files for the tests of `read_checkpoint`, honest and forged."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from gss.io.checkpoints import read_checkpoint


def example() -> dict[str, Any]:
    flat = torch.arange(12, dtype=torch.float32)
    return {
        "state_dict": OrderedDict(a=flat.view(3, 4), b=flat[2:8].view(2, 3).T, c=torch.nn.Parameter(torch.ones(2))),
        "dtypes": [
            torch.arange(3).to(dtype)
            for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
        ],
        "bytes": (torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([-1], dtype=torch.int8)),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "meta": {
            "text": "ü",
            "number": -3,
            "long": 2**70,
            "real": 1.5,
            "none": None,
            "set": {1, 2},
            7: (1, (2,), b"x\xff", b""),
        },
        "size": torch.Size([1, 2]),
        "device": torch.device("cuda", 1),
    }


def saved(content: Any, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def archive(pickled: bytes, **storages: bytes) -> bytes:
    """A zip archive with this pickle, as torch.save lays it out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr("root/data.pkl", pickled)
        target.writestr("root/version", "3\n")
        for key, content in storages.items():
            target.writestr(f"root/data/{key}", content)
    return stream.getvalue()


def legacy(pickled: bytes) -> bytes:
    """A legacy file whose object is this pickle, without storages."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(value, 2) for value in head) + pickled + pickle.dumps([], 2)


def same(a: Any, b: Any) -> bool:
    if isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def read(tmp_path: Path, content: bytes, **options: Any) -> Any:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    return read_checkpoint(path, **options)


def tensor_pickle(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], key: str = "0") -> bytes:
    """A tensor as torch.save pickles it, with claims of our choice."""

    def plain(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain(key) + plain("cpu") + plain(count) + b"tQ"
    rest = plain(offset) + plain(size) + plain(stride) + b"\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR."
