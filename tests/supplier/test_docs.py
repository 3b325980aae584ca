"""docs/operator.md says what the code does: every setting with its default, every metric."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from pocketnode.supplier import metrics
from pocketnode.supplier.config import SupplierConfig

GUIDE = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        path = prefix + (field.alias or name)
        if inner is None:
            yield path
        else:
            many = typing.get_origin(field.annotation) is list
            yield from settings(inner, f"{path}[]." if many else f"{path}.")


def rows(title: str) -> dict[str, list[str]]:
    section = GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]
    cells = [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_setting_is_explained_and_no_other() -> None:
    assert set(rows("Settings")) == set(settings(SupplierConfig))


def test_plain_defaults_are_those_of_the_code() -> None:
    for path, (default, *_) in rows("Settings").items():
        told = re.fullmatch(r"`([\d.]+|true|false)`", default)
        if told:
            model: typing.Any = SupplierConfig
            *parents, last = path.replace("[]", "").split(".")
            for parent in parents:
                kinds = [model.model_fields[parent].annotation, *typing.get_args(model.model_fields[parent].annotation)]
                model = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
            found = next(field.default for name, field in model.model_fields.items() if (field.alias or name) == last)
            assert str(found).lower() == told[1].replace(".0", ""), path


def test_every_metric_is_explained() -> None:
    assert metrics.__doc__
    told = set(re.findall(r"pocketnode_supplier_\w+", metrics.__doc__))
    assert set(rows("Metrics")) == told
