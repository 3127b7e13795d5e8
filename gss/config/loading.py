"""Recipes from YAML files and `key.path=value` overrides, checked against the dataclasses of `gss.config`."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union

import yaml

from gss.config import Recipe, require_in_range


class RecipeError(ValueError):
    """A recipe that cannot be used: the message has the source, the dotted path, what was expected and what came."""


def list_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    folder = resources.files("gss") / "recipes"
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The shipped recipe of that name, or the recipe in that YAML file, with overrides applied in order.

    Args:
        name_or_path: a name of `list_recipes()`, else the path of a YAML file. Keys left out keep their defaults;
            `name` defaults to the file's stem. A recipe with `extends: NAME` starts from the settings of that shipped
            recipe and changes those that it gives itself.
        overrides: `key.path=value` strings; the value is read as YAML: `prior_stage.steps=2000`,
            `prior_stage.augmentation.crop=[128, 192]`.

    Raises:
        RecipeError: no such recipe, broken YAML, an unknown or doubled key, a value of the wrong type or out of range.
    """
    source, text, stem = _read(name_or_path)
    tree = _extended(_parse_mapping(text, source), source)
    recipe = recipe_from_mapping(tree, source)
    for override in overrides:
        label = f"override {override!r}"
        _apply_override(tree, override, label)
        # checked one by one, so that an error names the override it comes from
        _checked(tree, label, require_in_range)
    if overrides:
        # what has to fit together may take several overrides
        recipe = recipe_from_mapping(tree, "overrides")
    return recipe if recipe.name else dataclasses.replace(recipe, name=stem)


def recipe_from_mapping(tree: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Check a nested mapping, as YAML gives it, and build the Recipe. `source` begins each error message.

    Raises:
        RecipeError: an unknown key, or a value of the wrong type or out of its range.
    """
    return _checked(tree, source, Recipe.validate)


def _checked(tree: Mapping[str, Any], source: str, check: Callable[[Recipe], None]) -> Recipe:
    recipe = _convert(tree, Recipe, "", source)
    assert isinstance(recipe, Recipe)
    try:
        check(recipe)
    except ValueError as error:
        raise RecipeError(f"{source}: {error}") from error
    return recipe


def recipe_to_yaml(recipe: Recipe) -> str:
    """All settings of `recipe` as YAML text, defaults included; loading it gives an equal Recipe."""
    return yaml.safe_dump(_plain(dataclasses.asdict(recipe)), sort_keys=False, allow_unicode=True)


def _read(name_or_path: str | Path) -> tuple[str, str, str]:
    """(source for messages, YAML text, stem)."""
    name = str(name_or_path)
    shipped = list_recipes()
    if name in shipped:
        return f"recipe {name}", (resources.files("gss") / "recipes" / f"{name}.yaml").read_text("utf-8"), name
    path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"recipe: {name!r} is neither a shipped recipe nor a file{_suggest(name, shipped)}; "
            f"shipped: {', '.join(shipped) or 'none'}"
        )
    try:
        return str(path), path.read_text("utf-8"), path.stem
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: expected UTF-8 text ({error})") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where PyYAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {error}") from error
    return {} if tree is None else tree


def _parse_mapping(text: str, source: str) -> dict[str, Any]:
    tree = _parse_yaml(text, source)
    if not isinstance(tree, dict):
        raise RecipeError(f"{source}: expected a mapping of settings, got {_describe(tree)}")
    return tree


def _extended(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """`tree` on top of the shipped recipe that it extends, if any, and so on."""
    seen = [source]
    while "extends" in tree:
        name = tree.pop("extends")
        if name not in list_recipes():
            close = _suggest(str(name), list_recipes())
            raise RecipeError(f"{source}: extends: expected a shipped recipe, got {_describe(name)}{close}")
        base_source, text, _ = _read(name)
        if base_source in seen:
            raise RecipeError(f"{source}: extends: {' -> '.join([*seen, base_source])} goes in a circle")
        seen.append(base_source)
        base = _parse_mapping(text, base_source)
        # what it is called is its own
        tree = _merged({key: value for key, value in base.items() if key not in ("name", "description")}, tree)
    # rebuilt, since a YAML alias makes two sections one mapping, and an override of one would change both
    return {key: _plain(value) for key, value in tree.items()}


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, mapping by mapping; a mapping of another type (tokenizer, backbone) is replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping) and not _other_kind(old, value):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _other_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return any(key in new and new[key] != old.get(key) for key in ("type", "model_type"))


def _apply_override(tree: dict[str, Any], override: str, label: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"{label}: expected key.path=value")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{label}: the value is not valid YAML: {error}") from error
    branch = tree
    for depth, key in enumerate(keys[:-1], start=1):
        branch = branch.setdefault(key, {})
        if not isinstance(branch, dict):
            raise RecipeError(f"{label}: {'.'.join(keys[:depth])} is a value, it has no key {keys[depth]!r}")
    branch[keys[-1]] = value


def _convert(value: Any, expected: Any, path: str, source: str) -> Any:
    """`value` as an instance of the type annotation `expected`."""
    if dataclasses.is_dataclass(expected):
        return _convert_dataclass(value, typing.cast(type, expected), path, source)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if dataclasses.is_dataclass(arguments[0]):
            return _convert_dataclass(value, _kind(value, arguments, path, source), path, source)
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _convert(value, only, path, source)
    if origin is Literal:
        # PyYAML reads a bare no, off, yes or on as a boolean; among the choices it can only mean the word
        spelling = {False: ("no", "off"), True: ("yes", "on")}.get(value, ()) if isinstance(value, bool) else (value,)
        for choice in arguments:
            if choice in spelling:
                return choice
        close = _suggest(value, map(str, arguments)) if isinstance(value, str) else ""
        raise _wrong(value, f"one of {', '.join(map(repr, arguments))}", path, source, close)
    if origin is tuple:
        items = list(value) if isinstance(value, list | tuple) else None
        inner = [arguments[0]] * len(items or ()) if arguments[-1] is Ellipsis else list(arguments)
        if items is None or len(items) != len(inner):
            count = "" if arguments[-1] is Ellipsis else f"{len(inner)} "
            raise _wrong(value, f"a list of {count}values", path, source)
        pairs = enumerate(zip(items, inner, strict=True))
        return tuple(_convert(item, kind, f"{path}[{i}]", source) for i, (item, kind) in pairs)
    if origin is list:
        if not isinstance(value, list | tuple):
            raise _wrong(value, "a list", path, source)
        return [_convert(item, arguments[0], f"{path}[{i}]", source) for i, item in enumerate(value)]
    if expected is dict or origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a mapping", path, source)
        return dict(value)
    return _convert_scalar(value, expected, path, source)


def _kind(value: Any, kinds: Sequence[type], path: str, source: str) -> type:
    """Which of several dataclasses a mapping means: the one of its `type`, by default the first."""
    by_name = {typing.get_args(typing.get_type_hints(kind)["type"])[0]: kind for kind in kinds}
    name = value.get("type", next(iter(by_name))) if isinstance(value, Mapping) else next(iter(by_name))
    if not isinstance(name, str) or name not in by_name:
        raise _wrong(
            name, f"one of {', '.join(map(repr, by_name))}", f"{path}.type", source, _suggest(str(name), by_name)
        )
    return by_name[name]


def _convert_dataclass(value: Any, expected: type, path: str, source: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(value, "a mapping of settings", path, source)
    hints = typing.get_type_hints(expected)
    for key in value:
        if key not in hints:
            where = f"{path}.{key}" if path else str(key)
            raise RecipeError(
                f"{source}: {where}: unknown key{_suggest(str(key), hints)}; known here: {', '.join(hints)}"
            )
    prefix = f"{path}." if path else ""
    return expected(**{key: _convert(item, hints[key], prefix + key, source) for key, item in value.items()})


def _convert_scalar(value: Any, expected: Any, path: str, source: str) -> Any:
    if expected is float:
        if isinstance(value, str):
            # YAML 1.1 reads 1e-3 as text, because it has no dot
            try:
                value = float(value)
            except ValueError:
                raise _wrong(value, "a number", path, source) from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(value, "a finite number", path, source)
        return float(value)
    names = {int: "a whole number", bool: "true or false", str: "text"}
    if type(value) is not expected:
        raise _wrong(value, names.get(expected, str(expected)), path, source)
    return value


def _wrong(value: Any, expected: str, path: str, source: str, note: str = "") -> RecipeError:
    return RecipeError(f"{source}: {path or 'top level'}: expected {expected}, got {_describe(value)}{note}")


def _describe(value: Any) -> str:
    return "nothing (null)" if value is None else f"{value!r} ({type(value).__name__})"


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
