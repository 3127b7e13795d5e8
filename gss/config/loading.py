"""Recipes from YAML files and `key.path=value` overrides, checked against the dataclasses of `gss.config`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from gss.config import Recipe
from gss.config.settings import describe, problems, suggestion


class RecipeError(ValueError):
    """A recipe that cannot be used; each line of the message has source, dotted path, expected and received value."""


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
    if overrides:
        for override in overrides:
            _apply_override(tree, override, f"override {override!r}")
        recipe = _checked(tree, lambda path: _culprit(path, overrides))
    return recipe if recipe.name else dataclasses.replace(recipe, name=stem)


def recipe_from_mapping(tree: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Check a nested mapping, as YAML gives it, and build the Recipe. `source` begins each line of an error message.

    Raises:
        RecipeError: an unknown key, or a value of the wrong type or out of its range.
    """
    return _checked(tree, lambda path: source)


def _checked(tree: Mapping[str, Any], source_of: Callable[[str], str]) -> Recipe:
    """The Recipe of `tree`; `source_of` gives the origin of the setting at a dotted path, for messages."""
    try:
        return TypeAdapter(Recipe).validate_python(dict(tree))
    except ValidationError as error:
        lines = [f"{source_of(path)}: {path}: {text}" for path, text in problems(error, Recipe)]
        raise RecipeError("\n".join(lines)) from error


def _culprit(path: str, overrides: Sequence[str]) -> str:
    """The last override that set the value at `path`; all of them where the problem is in a value that none has set."""
    for override in reversed(overrides):
        key = override.partition("=")[0].strip()
        if path == key or path.startswith((f"{key}.", f"{key}[")):
            return f"override {override!r}"
    return f"override {', '.join(map(repr, overrides))}"


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
            f"recipe: {name!r} is neither a shipped recipe nor a file{suggestion(name, shipped)}; "
            f"shipped: {', '.join(shipped) or 'none'}"
        )
    try:
        return str(path), path.read_text("utf-8"), path.stem
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: expected UTF-8 text ({error})") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which PyYAML keeps the last, and that reads 1e-3 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where a number with an exponent needs a dot.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parse_mapping(text: str, source: str) -> dict[str, Any]:
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise RecipeError(f"{source}: expected a mapping of settings, got {describe(tree)}")
    return tree


def _extended(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """`tree` on top of the shipped recipe that it extends, if any, and so on."""
    seen = [source]
    while "extends" in tree:
        name = tree.pop("extends")
        if name not in list_recipes():
            close = suggestion(str(name), list_recipes())
            raise RecipeError(f"{source}: extends: expected a shipped recipe, got {describe(name)}{close}")
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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
