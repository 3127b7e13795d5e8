"""The kernels themselves: on a GPU where there is one, else in Triton's interpreter (tests/conftest.py turns it on)."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gsskernels import _dispatch

if _dispatch.why_missing("triton") is None:
    from triton.runtime import interpreter
else:  # every test here is skipped
    interpreter = None


@pytest.fixture(scope="session", autouse=True)
def quicker_interpreter() -> Iterator[None]:
    """Halves the time of the interpreter of Triton 3.7, which does again what it has done already.

    It replaces the functions of triton.language at every call of a device function, though the launch around the call
    has replaced them; and it builds a table of dtypes at every look into it.
    """
    if not hasattr(interpreter, "_LangPatchScope"):  # another version has other habits
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


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def default_backend(monkeypatch: pytest.MonkeyPatch) -> str:
    """Overrides the fixture of the folder above: here operations run on the Triton backend."""
    if (reason := _dispatch.why_missing("triton")) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(_dispatch, "default", "triton")
    return "triton"
