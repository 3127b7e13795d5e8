"""Where the entries of a torch zip archive lie in the file.

torch.save stores its entries uncompressed, so that an entry is a slice of the file. Reading only that form bounds the
memory by the size of the file: compressed, encrypted and overlapping entries are refused.
"""

from __future__ import annotations

import struct
from mmap import mmap
from typing import NamedTuple

MAX_ENTRIES = 200_000
MAX_DIRECTORY = 32 << 20

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class Entry(NamedTuple):
    """Bytes [start, start + size) of the file."""

    start: int
    size: int


def stored_entries(data: mmap) -> dict[str, Entry]:
    """Name -> place of every entry of the zip archive `data`.

    Raises ValueError, saying what is wrong, for anything that torch.save does not write.
    """
    count, start, size = _directory(data)
    if count > MAX_ENTRIES or size > MAX_DIRECTORY or start + size > len(data):
        raise ValueError(f"zip archive: a directory of {count} entries, {size} bytes at {start} is not plausible")
    entries: dict[str, Entry] = {}
    position, end = start, start + size
    for _ in range(count):
        name, entry, position = _entry(data, position, end)
        if name in entries:
            raise ValueError(f"zip archive: two entries named {name[:80]!r}")
        entries[name] = entry
    # Entries that share bytes would let a small file claim any size.
    previous_end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]):
        if entry.start < previous_end:
            raise ValueError(f"zip archive: entry {name[:80]!r} overlaps another")
        previous_end = entry.start + entry.size
    if previous_end > start:
        raise ValueError("zip archive: entries reach into the directory")
    return entries


def _directory(data: mmap) -> tuple[int, int, int]:
    """Number of entries, first byte and length of the central directory."""
    position = len(data) - _END.size
    if position < 0 or data[position : position + 4] != b"PK\x05\x06":
        raise ValueError("zip archive: no end record at the end of the file; it is truncated or not from torch.save")
    count, size, start = _END.unpack_from(data, position)[4:7]
    if count != _FULL16 and size != _FULL32 and start != _FULL32:
        return count, start, size
    position -= _END64_LOCATOR.size
    if position < 0 or data[position : position + 4] != b"PK\x06\x07":
        raise ValueError("zip archive: the 64-bit end record is missing")
    record = _END64_LOCATOR.unpack_from(data, position)[2]
    if record + _END64.size > position or data[record : record + 4] != b"PK\x06\x06":
        raise ValueError("zip archive: the 64-bit end record is not where the file says")
    count, size, start = _END64.unpack_from(data, record)[7:10]
    return count, start, size


def _entry(data: mmap, position: int, end: int) -> tuple[str, Entry, int]:
    if position + _CENTRAL.size > end or data[position : position + 4] != b"PK\x01\x02":
        raise ValueError(f"zip archive: no directory entry at byte {position}")
    fields = _CENTRAL.unpack_from(data, position)
    flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
    name_length, extra_length, comment_length, offset = fields[10], fields[11], fields[12], fields[16]
    names = position + _CENTRAL.size
    extras = names + name_length
    after = extras + extra_length + comment_length
    if after > end:
        raise ValueError(f"zip archive: directory entry at byte {position} is cut off")
    name = data[names:extras].decode("utf-8", "replace")
    if flags & 1 or method != 0:
        raise ValueError(f"zip archive: entry {name[:80]!r} is compressed or encrypted, which torch.save never does")
    size, packed, offset = _wide(data[extras : extras + extra_length], size, packed, offset)
    if packed != size:
        raise ValueError(f"zip archive: entry {name[:80]!r} stores {packed} bytes and claims {size}")
    if offset + _LOCAL.size > len(data) or data[offset : offset + 4] != b"PK\x03\x04":
        raise ValueError(f"zip archive: entry {name[:80]!r} is not where the directory says")
    local_name, local_extra = _LOCAL.unpack_from(data, offset)[9:11]
    start = offset + _LOCAL.size + local_name + local_extra
    if start + size > len(data):
        raise ValueError(f"zip archive: entry {name[:80]!r} claims {size} bytes, past the end of the file")
    return name, Entry(start, size), after


def _wide(extra: bytes, *values: int) -> list[int]:
    """`values` with those that do not fit 32 bits taken from the 64-bit extra field, in its fixed order."""
    wide: list[int] = []
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            whole = extra[position + 4 : position + 4 + length]
            wide = [number for (number,) in struct.iter_unpack("<Q", whole[: len(whole) // 8 * 8])]
        position += 4 + length
    if sum(value == _FULL32 for value in values) > len(wide):
        raise ValueError("zip archive: a 64-bit size is missing")
    source = iter(wide)
    return [next(source) if value == _FULL32 else value for value in values]
