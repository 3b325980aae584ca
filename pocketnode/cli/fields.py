"""The configuration schemas as rows and as an example file: what docs and commands show, from the one definition."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# What stands in an example where there is no default, by the field's name.
EXAMPLES: Final[dict[str, Any]] = {
    "deployment": "deployment.json",
    "rpc": ["http://127.0.0.1:8545"],
    "keystore": "operator.json",
    "password_file": "password",
    "token_file": "admin-token",
    "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "id": "eth",
    "price": 50_000_000,
    "url": "http://127.0.0.1:8545",
    "certificate": "supplier.crt",
    "key": "supplier.key",
    "services": ["eth"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One key: where it stands, what it takes, its default as text (empty where it must be given), what it means."""

    path: str
    kind: str
    default: str
    meaning: str


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[Row]:
    """Yield a row for each key of a configuration, sections before what is in them; `[]` is an item of a list."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner, suffix = _model_in(field.annotation)
        if inner is None:
            yield Row(path, _kind(field), _default(field), _meaning(field))
            continue
        optional = "" if field.is_required() else " (optional)"
        meaning = field.description or (inner.__doc__ or "").split("\n")[0]
        yield Row(f"{path}{suffix}", f"section{optional}", "", meaning)
        yield from rows(inner, f"{path}{suffix}.")


def example(model: type[BaseModel], indent: int = 0) -> Iterator[str]:
    """Yield the lines of an example file: every key with its default, what has none with something plausible."""
    pad = "  " * indent
    for name, field in model.model_fields.items():
        key = field.alias or name
        inner, suffix = _model_in(field.annotation)
        if field.description:
            yield f"{pad}# {field.description}"
        if inner is None:
            yield _line(pad, key, name, field)
        elif not field.is_required() and not field.get_default(call_default_factory=True):
            yield f"{pad}# {key}:"
            lines = _item(list(example(inner, indent + 2)), pad) if suffix else example(inner, indent + 1)
            yield from _commented(lines, pad)
        elif suffix:
            yield f"{pad}{key}:"
            yield from _item(list(example(inner, indent + 2)), pad)
        else:
            yield from _section(list(example(inner, indent + 1)), pad, key)


def _section(lines: list[str], pad: str, key: str) -> Iterator[str]:
    """Yield a section; its header is a comment where nothing in it is given, as an empty one would be no section."""
    given = any(not line.lstrip().startswith("#") for line in lines)
    yield f"{pad}{key}:" if given else f"{pad}# {key}:"
    yield from lines


def _commented(lines: Iterable[str], pad: str) -> Iterator[str]:
    return (f"{pad}# {line[len(pad) :]}" for line in lines)


def _item(lines: list[str], pad: str) -> Iterator[str]:
    """Yield the lines of a list's one item: its first key carries the dash."""
    first = next(place for place, line in enumerate(lines) if not line.lstrip().startswith("#"))
    for place, line in enumerate(lines):
        yield f"{pad}  - {line.lstrip()}" if place == first else line


def _line(pad: str, key: str, name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"{pad}{key}: {json.dumps(EXAMPLES[name])}"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return f"{pad}# {key}:"
    return f"{pad}{key}: {_text(value)}"


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the section that a field holds, and `[]` where it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if get_origin(annotation) is list and isinstance(get_args(annotation)[0], type):
        (inner,) = get_args(annotation)
        return (inner, "[]") if issubclass(inner, BaseModel) else (None, "")
    if get_origin(annotation) in (Union, types.UnionType):
        found = [_model_in(one) for one in get_args(annotation) if one is not type(None)]
        return found[0] if len(found) == 1 else (None, "")
    return None, ""


def _kind(field: FieldInfo) -> str:
    bounds = [f"{_SIGNS[name]} {value}" for item in field.metadata for name, value in _bounds(item)]
    return " ".join([_name(field.annotation), *bounds])


_SIGNS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _bounds(item: Any) -> Iterator[tuple[str, Any]]:
    for name in _SIGNS:
        value = getattr(item, name, None)
        if value is not None:
            yield name, value


_NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", type(None): ""}


def _name(annotation: Any) -> str:
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (list, tuple, frozenset):
        return f"list of {_name(inner[0])}"
    if origin is dict:
        return f"map of {_name(inner[0])} to {_name(inner[1])}"
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(filter(None, (_name(one) for one in inner)))
    if hasattr(annotation, "__metadata__"):
        return _name(inner[0])
    return "section" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "text"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else _text(value)


def _text(value: Any) -> str:
    return json.dumps(value if isinstance(value, bool | int | float | str | list | dict) else str(value))


def _meaning(field: FieldInfo) -> str:
    return field.description or ""
