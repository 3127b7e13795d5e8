"""Builds the native CPU library of gsskernels with CMake; everything else is declared in pyproject.toml.

The library is optional: where it cannot be built the installation succeeds without it, and
``python -m gsskernels.info`` repeats the reason, which is left beside where the library would be.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("gsskernels", "native")
LIBRARY, REASON = "libgsskernels.so", "build_failure.txt"


class BuildNative(build_ext):
    def run(self) -> None:
        in_place = self.inplace or getattr(self, "editable_mode", False)
        target = (ROOT if in_place else Path(self.build_lib).resolve()) / PACKAGE
        target.mkdir(parents=True, exist_ok=True)
        (target / REASON).unlink(missing_ok=True)
        try:
            self._build(target)
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stdout", None) or ""
            reason = f"{error}\n{output[-4000:]}".strip()
            (target / LIBRARY).unlink(missing_ok=True)
            (target / REASON).write_text(reason + "\n")
            print(
                f"gsskernels: the native library was not built, PyTorch will compute instead\n{reason}", file=sys.stderr
            )

    def _build(self, target: Path) -> None:
        work = Path(self.build_temp).resolve() / "native"
        work.mkdir(parents=True, exist_ok=True)
        cache = work / "CMakeCache.txt"
        if cache.exists():  # it names the cmake and ninja of an isolated build environment that is gone
            cache.unlink()
            shutil.rmtree(work / "CMakeFiles", ignore_errors=True)
        configure = ["cmake", "-S", str(ROOT), "-B", str(work), f"-DGSS_OUTPUT_DIRECTORY={work}"]
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        for command in (configure, ["cmake", "--build", str(work), "--parallel", str(os.cpu_count() or 1)]):
            subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        shutil.copyfile(work / LIBRARY, target / (LIBRARY + ".new"))
        os.replace(target / (LIBRARY + ".new"), target / LIBRARY)

    # Nothing that setuptools could look up, link or copy itself.
    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return []


class PlatformWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        """The library knows nothing of Python: one wheel a platform serves every version."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("gsskernels.native.libgsskernels", sources=[])],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": PlatformWheel},
)
