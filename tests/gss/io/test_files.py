from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gss.io.files import remove_leftovers, replace_file, write_bytes, write_text


def test_whole_files_in_new_folders(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "data", b"\0\1")
    write_text(tmp_path / "a" / "text.txt", "é\r\n")
    write_text(str(tmp_path / "a" / "text.txt"), "ü\n")
    assert (tmp_path / "a" / "b" / "data").read_bytes() == b"\0\1"
    assert (tmp_path / "a" / "text.txt").read_bytes() == "ü\n".encode()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "text.txt"]


def test_the_temporary_file_is_hidden_and_keeps_the_suffix(tmp_path: Path) -> None:
    with replace_file(tmp_path / "mask.png", durable=False) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".") and temporary.suffix == ".png"
        assert not (tmp_path / "mask.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(type(error)), replace_file(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_the_mode(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with replace_file(tmp_path / "w") as temporary:
            # as a writer does that brings its own private file
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "w").stat().st_mode & 0o777 == mode


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys, gss.io.files\n"
        "files = [gss.io.files.replace_file(f'{sys.argv[1]}/{name}') for name in ('weights.safetensors', 'plain')]\n"
        "print([file.__enter__() for file in files])\n"
        "os._exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
    kept = [".hidden", "notes.tmp", ".model.tmp", "step_0000005.pt"]
    for name in kept:
        (tmp_path / name).write_text("")
    assert len(list(tmp_path.iterdir())) == len(kept) + 2
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "nowhere")
