"""One contract for all backends: a test of this folder that names no backend runs on every backend there is.

"triton" runs on a GPU where there is one; tensors that a test makes are then on the GPU (torch's default device).
Without a GPU it runs in Triton's interpreter, on CPU tensors, for the tests marked `interpreted`: the interpreter is
too slow for all of them.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from gsskernels import _dispatch

if _dispatch.why_missing("triton") is None:
    from triton.runtime import interpreter
else:
    interpreter = None
HAS_GPU = torch.cuda.is_available()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA GPU")
    config.addinivalue_line("markers", "interpreted: runs in Triton's interpreter where there is no GPU")
    config.addinivalue_line("markers", "backends(*names): the backends to run on; all by default")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.path.parent != Path(__file__).parent:
        return  # folders below choose their own backends
    names = ["reference", "native"]
    if HAS_GPU or metafunc.definition.get_closest_marker("interpreted"):
        names.append("triton")
    if marker := metafunc.definition.get_closest_marker("backends"):
        names = list(marker.args)
    metafunc.parametrize("default_backend", names, indirect=True)


@pytest.fixture(autouse=True)
def default_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if (reason := _dispatch.why_missing(request.param)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(_dispatch, "default", request.param)
    with torch.device("cuda") if request.param == "triton" and HAS_GPU else nullcontext():
        yield request.param


@pytest.fixture(scope="session", autouse=True)
def quicker_interpreter() -> Iterator[None]:
    """Halves the time of the interpreter of Triton 3.7, which repeats some of its work.

    It replaces the functions of triton.language at every call of a device function, although the launch around the call
    has replaced them, and it builds a table of dtypes at every lookup.
    """
    if not hasattr(interpreter, "_LangPatchScope"):  # Triton is missing, or another version of it
        yield
        return
    replace, look_up = interpreter._patch_lang, interpreter._get_np_dtype
    replaced: set[int] = set()  # modules, since the launch began
    scopes: list[Any] = []
    dtypes: dict[str, Any] = {}

    class Launch:
        def restore(self) -> None:
            while scopes:
                scopes.pop().restore()
            replaced.clear()

    def once(kernel: Any) -> Launch:
        languages = {id(v) for v in kernel.__globals__.values() if v is interpreter.tl or v is interpreter.tl.core}
        if languages - replaced:
            replaced.update(languages)
            scopes.append(replace(kernel))
        return Launch()

    def dtype(kind: Any) -> Any:
        scalar = kind.scalar
        if scalar.name not in dtypes:
            dtypes[scalar.name] = look_up(scalar)
        return dtypes[scalar.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang", once)
        patch.setattr(interpreter, "_get_np_dtype", dtype)
        yield
