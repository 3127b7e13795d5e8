"""Reads torch checkpoints, zip or legacy, without executing them: `torch.load(weights_only=True)` after three checks.

`torch.load` alone does not do the following, so it is here:

- It decompresses zip entries, so a file of 3 MB can take 3 GB. `torch.save` stores entries: others are refused.
- It builds more than weights need, such as sparse tensors with unchecked indices, or a bytearray of any size. Only the
  names listed here pass.
- It refuses whole modules in legacy files, such as old dVAE pickles, for the source text that these carry.
- It reads protocol 2 alone. Files of `torch.save(..., pickle_protocol=4)` go through Python's unpickler, which gets no
  class or function but those listed here.

A hostile file can still take time and memory that grow with the square of its pickle, which is limited to 64 MiB.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import IO, Any

import torch

from gss.io.files import PathLike

# Everything of a checkpoint but its tensors.
MAX_PICKLE = 64 << 20

_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
# Built by torch.
_BUILT = {
    "collections.OrderedDict", "builtins.set", "_codecs.encode", "torch.Size", "torch.device",
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
    *(f"torch.{kind}Storage" for kind in _STORAGES),
}  # fmt: skip
# Read as `Inert`: modules of the dVAE, callbacks of PyTorch Lightning, and numbers and arrays of numpy, which training
# tools leave beside the weights.
_INERT = {
    "dall_e.encoder.Encoder", "dall_e.encoder.EncoderBlock", "dall_e.decoder.Decoder", "dall_e.decoder.DecoderBlock",
    "dall_e.utils.Conv2d", "torch.nn.modules.activation.ReLU", "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity", "torch.nn.modules.pooling.MaxPool2d", "torch.nn.modules.upsampling.Upsample",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint", "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}  # fmt: skip
# Protocol 2 has no bytes: it calls `bytes` for empty ones and encodes text in latin1 for others. Other codecs could
# double the length again and again, or spell the name of one that does.
_EMPTY_BYTES = "builtins.bytes"
_CODECS = re.compile(r"(base64|bz2|hex|quopri|uu|zlib)(codec)?|quotedprintable|zip|rot13")
# Not in any file: stands before a module of a legacy file, see `_Pickle.without_sources`.
_MODULE = "gss.module"


class Inert:
    """An object of a class that was not imported. `attributes` holds those in the file."""

    attributes: dict[str, Any]

    def __new__(cls, *arguments: Any) -> Inert:
        self = super().__new__(cls)
        self.attributes = {}
        return self

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def read_checkpoint(path: PathLike) -> Any:
    """The object that torch.save wrote to `path`, executing nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        ...     torch.save({"state_dict": {"weight": torch.ones(2)}}, file.name)
        ...     read_checkpoint(file.name)["state_dict"]
        {'weight': tensor([1., 1.])}

    Args:
        path: a file in the zip form (torch >= 1.6) or the legacy form.

    Returns:
        dicts, lists, tuples, sets, text, bytes, numbers, None, CPU tensors, and an `Inert` for each object of the few
        other classes that are known, numbers of numpy included. Tensors of a zip file are private views of the mapped
        file: writing to them does not change it. Their values are undefined once the file changes.

    Raises:
        ValueError: in one line, the file and the problem: neither form, truncated, compressed, a name that is not
            allowed, or sizes that are not there.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            zipped = file.read(4) == b"PK\x03\x04"
            source: Any = os.fspath(path)
            if zipped:
                pickled = _Pickle()
                pickled.check(io.BytesIO(_zip_pickle(file)))
            else:
                # An open file, since torch.load chooses another format by the suffix of a path.
                source, pickled = _legacy_source(file)
            if pickled.protocol != 2:
                module = SimpleNamespace(
                    __name__=__name__, Unpickler=_ListedOnly, load=lambda file, **options: _ListedOnly(file).load()
                )
                return torch.load(source, map_location="cpu", weights_only=False, mmap=zipped, pickle_module=module)
            stand_ins: list[Any] = [(_stand_in(name), name) for name in pickled.names - _BUILT]
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)
        except Exception as error:  # a damaged file makes torch.load raise nearly anything
            raise ValueError(f"{path}: not a readable torch checkpoint: {_reason(error)}") from error


def describe(value: Any) -> str:
    """A short name of a value for a message; never its text, which a hostile file chooses."""
    return type(value).__name__


@dataclass
class _Pickle:
    """Names that a pickle uses, and the places of whole modules in it: their first byte and their last instruction."""

    protocol: int = 2
    names: set[str] = field(default_factory=set)
    modules: list[tuple[int, int]] = field(default_factory=list)

    def check(self, stream: IO[bytes]) -> None:
        """Read one pickle without building anything. Raises ValueError for a protocol or a name not allowed."""
        marks: list[int] = []
        tuple_start = inert_at = -1
        texts: set[str] = set()
        for opcode, argument, position in pickletools.genops(stream):
            at = position or 0  # None only for a stream without positions
            if opcode.name == "PROTO" and argument != 2:
                if not isinstance(argument, int) or argument > pickle.HIGHEST_PROTOCOL:
                    raise ValueError(f"pickle protocol {argument}; expected at most {pickle.HIGHEST_PROTOCOL}")
                self.protocol = argument
            if opcode.name in ("GLOBAL", "INST"):
                name = re.sub(r"^__builtin__\b", "builtins", str(argument).replace(" ", ".", 1))
                if name not in _BUILT and name not in _INERT and name != _EMPTY_BYTES:
                    raise ValueError(f"{name[:200]!r} is not allowed in a checkpoint; nothing of it was executed")
                self.names.add(name)
                inert_at = at if name in _INERT else inert_at
            elif opcode.name == "MARK":
                marks.append(at)
            elif opcode.name in ("TUPLE", "APPENDS", "SETITEMS") and marks:
                mark = marks.pop()
                tuple_start = mark if opcode.name == "TUPLE" else tuple_start
            elif opcode.name == "BINPERSID" and inert_at > tuple_start >= 0:
                self.modules.append((tuple_start, at))
            elif isinstance(argument, str) and len(argument) < 40:
                texts.add(re.sub("[^a-z0-9]", "", argument.lower()))
        if "_codecs.encode" in self.names and any(map(_CODECS.fullmatch, texts)):
            raise ValueError("bytes encoded by another codec than latin1 are not allowed")

    def without_sources(self, content: bytes) -> bytes:
        """`content` with each persistent id ("module", class, file, source text) replaced by a call of `_MODULE`, which
        returns the class."""
        parts, done = [], 0
        for start, end in self.modules:
            module, _, name = _MODULE.partition(".")
            parts += [content[done:start], f"c{module}\n{name}\n".encode(), content[start:end], b"R"]
            done = end + 1
        return b"".join([*parts, content[done:]])


class _ListedOnly(pickle.Unpickler):
    """Builds objects of the listed names alone. Newer protocols store bytes themselves and need no codec."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _INERT:
            return _stand_in(full)
        if full in _BUILT and full != "_codecs.encode":
            return super().find_class(module, name)
        raise ValueError(f"{full[:200]!r} is not allowed in a checkpoint; nothing of it was executed")


def _stand_in(name: str) -> Any:
    if name == _EMPTY_BYTES:
        return lambda: b""
    if name == _MODULE:
        return lambda tag, kind, file, source: kind
    module, _, kind = name.rpartition(".")
    return type(kind, (Inert,), {"__module__": module})


def _zip_pickle(file: IO[bytes]) -> bytes:
    """The pickle in a zip archive. Raises ValueError for anything that torch.save does not write."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(length - 22, 0))
    if file.read(4) != b"PK\x05\x06":
        raise ValueError("zip archive: no end record at the end of the file; it is truncated or not from torch.save")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
            raise ValueError(f"zip archive: {entry.filename[:80]!r} is compressed or encrypted; torch.save stores")
    if len({entry.filename.lower() for entry in entries}) != len(entries):
        raise ValueError("zip archive: two entries of one name")
    if sum(entry.file_size for entry in entries) > length:
        raise ValueError(f"zip archive: its entries overlap, they claim more than the {length} bytes of the file")
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
        raise ValueError(f"expected one entry */data.pkl of at most {MAX_PICKLE} bytes, found {len(pickles)} entries")
    # Not by `archive.read`: torch.save can leave out checksums.
    file.seek(pickles[0].header_offset + 26)
    name_length, extra_length = struct.unpack("<2H", file.read(4))
    file.seek(name_length + extra_length, os.SEEK_CUR)
    return file.read(pickles[0].file_size)


def _legacy_source(file: IO[bytes]) -> tuple[IO[bytes], _Pickle]:
    """A legacy file in a form that torch.load reads. It starts with five pickles, of which the fourth is the object."""
    file.seek(0)
    head = file.read(MAX_PICKLE)
    if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." not in head[:24]:
        raise ValueError("it is neither a zip archive nor a legacy checkpoint")
    stream, pickled = io.BytesIO(head), _Pickle()
    for index in range(5):
        start = stream.tell()
        pickled.check(stream)
        # The third describes the machine; its only truth value tells whether that is little-endian.
        if index == 2 and any(opcode.name == "NEWFALSE" for opcode, *_ in pickletools.genops(head[start:])):
            raise ValueError("its byte order is not little")
    if not pickled.modules:
        file.seek(0)
        return file, pickled
    pickled.names.add(_MODULE)
    return io.BytesIO(pickled.without_sources(head) + file.read()), pickled


def _reason(error: Exception) -> str:
    """The first line of a message that says more than where to read on, with nothing that a terminal would obey."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Weights only load failed", "Please file", "Check the"))]
    text = (telling or lines or [type(error).__name__])[0]
    return "".join(c if c.isprintable() else "?" for c in text)[:300]
