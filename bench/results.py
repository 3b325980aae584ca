"""Result files: one JSON for each scenario, with the machine, the versions and the commit that it was taken on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.tools import ROOT

FOLDER: Final = ROOT / "bench" / "results"


def write(folder: Path, name: str, data: dict[str, Any]) -> None:
    """Write one scenario's result over the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"scenario": name, **machine.facts(), "data": data}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=False) + "\n")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every result that is there, by scenario."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
