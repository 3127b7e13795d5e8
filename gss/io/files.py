"""Files that are complete or not there: written to a temporary name, flushed to the disk, renamed. Torch-free."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]

# .NAME.0f3a9c21.tmp.SUFFIX: hidden, so that no folder listing takes it for data. The suffix stays, since libraries
# choose a format by it.
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\.[^.]*)?")


@contextmanager
def replace_file(path: PathLike, *, durable: bool = True) -> Iterator[Path]:
    """The name of a temporary file beside `path`, which becomes `path` when the block ends without an error.

    A process killed at any moment leaves the old file or the new one, never a part of one; after an error the old file
    stays. Parent folders are made. The file gets the mode that the umask gives new files, whatever the writer chose.

    Args:
        path: the file to write.
        durable: also keep the promise through a power failure. It takes some milliseconds a file, too much for
            thousands of pictures.

    Raises:
        OSError: the folder cannot be written.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with replace_file(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    # Some writers make a private file (0600) of their own. This file tells the umask without changing it.
    with temporary.open("xb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(mode)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _flush_folder(target.parent)


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a whole file, see `replace_file`."""
    with replace_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write a whole UTF-8 file with the line ends of `text`, see `replace_file`."""
    write_bytes(path, text.encode("utf-8"))


def remove_leftovers(folder: PathLike) -> None:
    """Delete the temporary files that a killed process left in `folder`. No process may be writing there."""
    if Path(folder).is_dir():
        for file in Path(folder).iterdir():
            if _TEMPORARY.fullmatch(file.name):
                file.unlink()


def _flush_folder(folder: Path) -> None:
    """A rename is durable only once its folder is flushed, which only POSIX systems offer."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: PathLike, values: Any) -> None:
    """Write values as a whole JSON file, see `to_json` and `replace_file`."""
    write_text(path, to_json(values) + "\n")


def to_json(values: Any) -> str:
    """Values as indented JSON. NaN and infinity, which JSON lacks, become null; paths become strings.

    >>> print(to_json({"mIoU": math.nan, "run": Path("runs")}))
    {
      "mIoU": null,
      "run": "runs"
    }
    """
    return json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
