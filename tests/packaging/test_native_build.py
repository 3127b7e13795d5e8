"""Installing succeeds where the native library cannot be built, and `gsskernels.info` shows the reason."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(tmp_path: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    for name in ("setup.py", "pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "gsskernels", tmp_path / "gsskernels", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tmp_path / "gss").mkdir()
    shutil.copy(ROOT / "gss" / "__init__.py", tmp_path / "gss")
    found = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return found, tmp_path / "gsskernels" / "native"


def test_without_a_compiler(tmp_path: Path) -> None:
    found, native = build(tmp_path, CXX=str(tmp_path / "no-such-compiler"))
    assert found.returncode == 0, found.stderr
    assert "the native library was not built" in found.stderr
    assert "no-such-compiler" in (native / "build_failure.txt").read_text()
    assert not (native / "libgsskernels.so").exists()
    code = "from gsskernels import info; info.main([])"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "no-such-compiler" in printed and "install a C++17 compiler" in printed


def test_without_cmake(tmp_path: Path) -> None:
    found, native = build(tmp_path, PATH="")
    assert found.returncode == 0, found.stderr
    assert "cmake" in (native / "build_failure.txt").read_text()


def test_a_failed_build_leaves_no_old_library(tmp_path: Path) -> None:
    """An old library would be loaded with sources to which it does not belong."""
    found, native = build(tmp_path, CXX="false")
    (native / "libgsskernels.so").write_bytes(b"old")
    again = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path,
        env={**os.environ, "CXX": str(tmp_path / "none")},
        capture_output=True,
        timeout=300,
    )
    assert found.returncode == again.returncode == 0 and not (native / "libgsskernels.so").exists()
