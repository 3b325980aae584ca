"""Settings from the environment, over those of a file: what containers and secrets managers hand over."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from pocketnode.errors import ConfigError


def overlaid(raw: Any, prefix: str, environment: Mapping[str, str]) -> Any:
    """Return parsed YAML with what the environment says in place of it.

    A variable names its key by the path, in upper case, with two underscores between, such as
    `POCKETNODE_GATEWAY__ADMIN__LISTEN`. Items of a list go by number. Its value is read as YAML, so that numbers and
    lists can be given.

    Parameters
    ----------
    prefix : of the variables, without the underscores that follow it.

    Raises
    ------
    ConfigError
        a value is not YAML, or the path leads through something that has no keys.

    >>> overlaid({"rpc": ["a", "b"]}, "P", {"P__RPC__1": "c", "P__LIMITS__LANES": "7", "OTHER": "x"})
    {'rpc': ['a', 'c'], 'limits': {'lanes': 7}}
    """
    found = {name: value for name, value in environment.items() if name.startswith(f"{prefix}__")}
    if not found or not isinstance(raw, dict | None):
        return raw
    whole: dict[str, Any] = copy.deepcopy(raw) if raw else {}
    for name, value in sorted(found.items()):
        try:
            _set(whole, name.removeprefix(f"{prefix}__").lower().split("__"), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"environment variable {name}: not YAML: {error}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(f"environment variable {name}: there is no such place in the configuration") from error
    return whole


def _set(place: Any, path: list[str], value: Any) -> None:
    """Set what lies at a path; sections that are missing are made, items of lists are not."""
    key, *rest = path
    if isinstance(place, list):
        at = int(key)
        if not rest:
            place[at] = value
            return
        _set(place[at], rest, value)
        return
    if not rest:
        place[key] = value
        return
    _set(place.setdefault(key, {}), rest, value)
