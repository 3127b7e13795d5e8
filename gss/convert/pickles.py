"""Reads torch checkpoints, zip or legacy, without executing them.

    state = read_checkpoint("ff.pth")["state_dict"]
    encoder = read_checkpoint("encoder.pkl", classes=DALLE_CLASSES)      # an Inert: its attributes, no class imported

What comes back is made of plain containers, text, numbers and tensors. Names in the file are looked up in a list and
never imported; a name outside it is refused by an error that says which. Tensors are views of the mapped file, so
memory stays near the size of what is used. A file that changes while it is in use has undefined contents.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

from gss.convert.archive import stored_entries
from gss.convert.machine import MAX_INSTRUCTIONS, Constructor, InertClass, Machine, describe, plain_key
from gss.convert.numpy_values import array, number, number_type
from gss.convert.tensors import STORAGE_DTYPES, Storage, StorageType, map_elements, rebuild_parameter, rebuild_tensor
from gss.io.files import PathLike

# Everything of a checkpoint but its tensors.
MAX_PICKLE = 64 << 20

_ZIP_START = b"PK\x03\x04"
# The first pickle of a legacy file holds this number, the second the version of the format.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


def read_checkpoint(path: PathLike, *, classes: Collection[str] = ()) -> Any:
    """The object that torch.save wrote to `path`, executing nothing.

    Args:
        path: a file in the zip form (torch >= 1.6) or the legacy form.
        classes: full names, "module.Class", whose instances come back as `Inert`; the classes are not imported.

    Returns:
        dicts (OrderedDict included), lists, tuples, sets, text, bytes, numbers, None, `Inert`, and CPU tensors. Those
        require no gradient and are private views of the file: writing to them changes neither it nor the next reading.
        A torch.Size is a tuple, a torch.device text such as "cuda:0", a number of numpy a number, an array of numpy a
        `NumberArray`.

    Raises:
        ValueError: naming the file and what is wrong: neither form, truncated, a name or an instruction that is not
            allowed, sizes that are not there.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            # An empty file cannot be mapped, which is a ValueError too. Writing to the mapping copies the page.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            if data[:4] == _ZIP_START:
                return _read_zip(data, frozenset(classes))
            return _read_legacy(data, frozenset(classes))
        except ValueError as error:
            raise ValueError(f"{path}: not a readable torch checkpoint: {error}") from error


@dataclass
class _Names:
    """The names that a checkpoint may use. `copied` counts what constructors copied: a file could name one long list
    many times."""

    classes: Collection[str]
    copied: int = 0

    def find(self, name: str) -> Any:
        if name in STORAGE_DTYPES:
            return StorageType(STORAGE_DTYPES[name])
        if name in self.classes:
            return InertClass(name)
        constructors: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._ordered_dict,
            "__builtin__.set": self._set,
            "builtins.set": self._set,
            "__builtin__.bytes": _no_bytes,
            "_codecs.encode": self._bytes,
            "numpy.dtype": number_type,
            "torch.Size": _size,
            "torch.device": _device,
            "torch._utils._rebuild_tensor": rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": rebuild_tensor,
            "torch._utils._rebuild_parameter": rebuild_parameter,
        }
        for multiarray in ("numpy.core.multiarray", "numpy._core.multiarray"):
            constructors |= {f"{multiarray}.scalar": number, f"{multiarray}._reconstruct": array}
        if name == "numpy.ndarray":
            return InertClass(name)  # an argument of _reconstruct
        if name not in constructors:
            raise ValueError(f"{name[:200]!r} is not allowed in a checkpoint; nothing of it was executed")
        return Constructor(name, constructors[name])

    def _ordered_dict(self, items: Any = ()) -> OrderedDict[Any, Any]:
        result: OrderedDict[Any, Any] = OrderedDict()
        for item in self._sequence(items):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise ValueError("an ordered dict: expected pairs")
            result[plain_key(item[0])] = item[1]
        return result

    def _set(self, items: Any = ()) -> set[Any]:
        return set(map(plain_key, self._sequence(items)))

    def _bytes(self, text: Any, encoding: Any) -> bytes:
        """Protocol 2 has no bytes: they stand there as the text of as many Latin-1 characters."""
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("expected bytes as Latin-1 text")
        self._count(len(text))
        return text.encode("latin1")

    def _sequence(self, items: Any) -> Collection[Any]:
        if not isinstance(items, (tuple, list)):
            raise ValueError(f"expected a list, got {describe(items)}")
        self._count(len(items))
        return items

    def _count(self, items: int) -> None:
        self.copied += items
        if self.copied > MAX_INSTRUCTIONS:
            raise ValueError(f"more than {MAX_INSTRUCTIONS} items or bytes copied")


def _no_bytes() -> bytes:
    return b""


def _size(lengths: Any) -> tuple[Any, ...]:
    if not isinstance(lengths, tuple):
        raise ValueError(f"torch.Size: expected a tuple, got {describe(lengths)}")
    return lengths


def _device(kind: Any, index: Any = None) -> str:
    if (
        not isinstance(kind, str)
        or len(kind) > 80
        or not (index is None or (type(index) is int and 0 <= index < 2**16))
    ):
        raise ValueError("torch.device: expected a name and a number")
    return kind if index is None else f"{kind}:{index}"


def _read_zip(data: mmap.mmap, classes: Collection[str]) -> Any:
    entries = stored_entries(data)
    roots = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError(f"expected one entry */data.pkl, found {len(roots)}")
    order = entries.get(roots[0] + "byteorder")
    if order is not None and data[order.start : order.start + min(order.size, 16)] != b"little":
        raise ValueError("its byte order is not little")
    pickled = entries[roots[0] + "data.pkl"]
    if pickled.size > MAX_PICKLE:
        raise ValueError(f"a pickle of {pickled.size} bytes; expected at most {MAX_PICKLE}")
    storages: dict[tuple[str, torch.dtype], Storage] = {}

    def load(persistent: Any) -> Storage:
        key, dtype, count = _storage_id(persistent)
        if (key, dtype) in storages:
            return storages[key, dtype]
        entry = entries.get(f"{roots[0]}data/{key}")
        if entry is None:
            raise ValueError(f"storage {key[:80]!r} is missing")
        if entry.size != count * dtype.itemsize:
            raise ValueError(f"storage {key[:80]!r} claims {count} elements of {dtype} and has {entry.size} bytes")
        storages[key, dtype] = Storage(map_elements(data, entry.start, count, dtype))
        return storages[key, dtype]

    stream = BytesIO(data[pickled.start : pickled.start + pickled.size])
    return Machine(_Names(classes).find, load).run(stream)


def _tagged(persistent: Any, tag: str) -> bool:
    return (
        isinstance(persistent, tuple)
        and len(persistent) > 0
        and isinstance(persistent[0], str)
        and persistent[0] == tag
    )


def _storage_id(persistent: Any) -> tuple[str, torch.dtype, int]:
    """Key, dtype and number of elements of ("storage", type, key, location, count[, view of another])."""
    if not _tagged(persistent, "storage") or len(persistent) not in (5, 6):
        raise ValueError("a persistent id that is no storage is not allowed")
    kind, key, count = persistent[1], persistent[2], persistent[4]
    if not isinstance(kind, StorageType) or not isinstance(key, str) or type(count) is not int:
        raise ValueError("a malformed storage")
    if not 0 <= count < 2**48 or (len(persistent) == 6 and persistent[5] is not None):
        raise ValueError(f"storage {key[:80]!r}: its size or view is not allowed")
    return key, kind.dtype, count


@dataclass
class _LegacyStorages:
    """Storages of a legacy file: the object comes first and only tells their sizes, the elements follow.

    So the object is read twice: with `found` empty to collect the sizes, then with the elements in their places.
    """

    sizes: dict[str, tuple[torch.dtype, int]] = field(default_factory=dict)
    found: dict[str, Tensor] = field(default_factory=dict)

    def load(self, persistent: Any) -> Any:
        if _tagged(persistent, "module") and len(persistent) == 4:
            # A whole module brings its source code along, which nobody reads.
            if not isinstance(persistent[1], InertClass):
                raise ValueError(f"{describe(persistent[1])} as the class of a module is not allowed")
            return persistent[1]
        key, dtype, count = _storage_id(persistent)
        if self.sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise ValueError(f"storage {key[:80]!r} has two sizes")
        return Storage(self.found[key]) if self.found else Storage(torch.empty(count, dtype=dtype, device="meta"))


def _read_legacy(data: mmap.mmap, classes: Collection[str]) -> Any:
    stream = BytesIO(data[:MAX_PICKLE])
    storages = _LegacyStorages()

    def read() -> Any:
        return Machine(_Names(classes).find, storages.load).run(stream)

    if read() != _LEGACY_MAGIC:
        raise ValueError("it is neither a zip archive nor a legacy checkpoint")
    if read() != _LEGACY_VERSION:
        raise ValueError(f"a legacy checkpoint of another version than {_LEGACY_VERSION}")
    system = read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its byte order is not little")
    start = stream.tell()
    result = read()
    keys = read()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages.sizes):
        raise ValueError("its list of storages does not match the object")
    if not keys:
        return result
    position = stream.tell()
    for key in dict.fromkeys(keys):
        dtype, count = storages.sizes[key]
        elements = position + 8
        position = elements + count * dtype.itemsize
        if position > len(data):
            raise ValueError(f"truncated: storage {key[:80]!r} ends at byte {position} of {len(data)}")
        if int.from_bytes(data[elements - 8 : elements], "little") != count:
            raise ValueError(f"storage {key[:80]!r} has not the {count} elements it claims")
        storages.found[key] = map_elements(data, elements, count, dtype)
    stream.seek(start)
    return read()
