"""The command line before any work: usage, cheap imports, targets that cannot be written, messages."""

import subprocess
import sys
from pathlib import Path

import pytest

import gss
from gss.cli import main, message, parse
from gss.io.images import UnreadableFile
from gss.model.result import Result
from gss.palette import Palette

LARGE = {"torch", "transformers", "accelerate", "numpy", "PIL", "yaml", "jinja2"}
TRAIN = ["train", "--recipe", "demo", "--data", "d", "--out", "o"]


def imported_by(statement: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = (line.rsplit("|", 1)[1] for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {name.strip().split(".")[0] for name in names}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["palette", "show", "scenes"]])
def test_help_and_palette_import_nothing_large(arguments):
    modules = imported_by(f"import gss.cli\ntry: gss.cli.main({arguments!r})\nexcept SystemExit: pass")
    assert "argparse" in modules and not modules & LARGE


def test_importing_gss_imports_nothing_large():
    modules = imported_by("import gss; gss.__version__; dir(gss); gss.Palette.named('scenes')")
    assert not modules & {*LARGE, "argparse"}


def test_the_package_has_its_names_and_no_others():
    assert gss.Palette is Palette and gss.Result is Result
    assert {"GSS", "PixelClassifier", "load", "Palette", "Result", "__version__"} <= set(dir(gss))
    with pytest.raises(AttributeError, match="nonsense"):
        gss.nonsense  # noqa: B018


def test_version_and_the_module_as_a_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"gss {gss.__version__}\n"
    command = [sys.executable, "-m", "gss.cli", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"gss {gss.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["train", "--recipe", "demo"],
        [*TRAIN, "no-equals-sign"],
        [*TRAIN, "a=1", "--unknown", "b=2"],
        ["data", "scenes", "d", "--size", "128"],
        ["data", "scenes", "d", "--train", "0"],
        ["palette", "show", "scenes", "a=1"],
    ],
)
def test_wrong_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: gss" in capsys.readouterr().err


def test_an_error_of_the_user_is_one_line_and_debug_keeps_the_traceback(capsys, monkeypatch):
    assert main(["palette", "show", "no-such-palette"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gss: error: ") and "no-such-palette" in captured.err
    assert captured.err.count("\n") == 1
    monkeypatch.setenv("GSS_DEBUG", "1")
    with pytest.raises(ValueError, match="no-such-palette"):
        main(["palette", "show", "no-such-palette"])


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("data scenes d --seed -1", "--seed: expected a whole number of at least 0, got '-1'"),
        ("demo --out d --seed -1", "--seed: expected a whole number of at least 0, got '-1'"),
        ("train --recipe demo --data d --out FILE", "--out: expected a folder to write to, but FILE is a file"),
        ("predict r a.png --out FILE", "--out: expected a folder to write to, but FILE is a file"),
        ("predict r a.png --out FILE/x", "--out: expected a folder to write to, but FILE is a file"),
        ("demo --out FILE", "--out: expected a folder to write to, but FILE is a file"),
        ("data scenes FILE", "DIR: expected a folder to write to, but FILE is a file"),
        ("evaluate r --data d --json FILE/x.json", "--json: expected a folder to write to, but FILE is a file"),
        ("evaluate r --data d --json FOLDER", "--json: expected a file to write, but FOLDER is a folder"),
        ("ceiling r --data d --json LOCKED/x.json", "--json: expected a folder to write to, but LOCKED is read-only"),
        ("palette show scenes --out x.jpg", "--out: expected a file NAME.png, got 'x.jpg'"),
    ],
)
def test_targets_and_numbers_are_checked_before_any_work(command, named, tmp_path, monkeypatch, capsys):
    places = {"FILE": tmp_path / "file", "FOLDER": tmp_path, "LOCKED": tmp_path / "locked"}
    places["FILE"].write_text("")
    places["LOCKED"].mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != places["LOCKED"])
    for name, place in places.items():
        command, named = command.replace(name, str(place)), named.replace(name, str(place))
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 2
    assert f"argument {named}" in capsys.readouterr().err


def test_messages_of_libraries_become_one_line_and_are_shortened_in_the_middle():
    assert message(ValueError("run/model.safetensors: broken\n  header\n")) == "run/model.safetensors: broken header"
    assert message(ValueError()) == "ValueError"
    assert message(UnreadableFile("two\nlines")) == "two\nlines", "our own errors keep their lines"
    long = message(ValueError("first " + "size mismatch " * 1000 + "last"))
    assert len(long) < 1100 and long.startswith("first size") and long.endswith("mismatch last")
    assert "GSS_DEBUG=1" in long


def test_the_commands_in_the_readme_parse():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    commands = [line.split("#")[0].split() for line in readme.splitlines() if line.startswith("    gss ")]
    parsed = [parse(words[1:]) for words in commands]
    assert {arguments.run.__module__.rsplit(".", 1)[1] for arguments in parsed} >= {"train", "evaluate", "predict"}


def test_a_hub_repository_keeps_its_name() -> None:
    for command in (["evaluate", "--data", "d"], ["ceiling", "--data", "d"], ["info"]):
        assert parse([*command, "hf://owner/name"]).model == "hf://owner/name"
    assert parse(["evaluate", "runs/demo", "--data", "d"]).model == Path("runs/demo")
