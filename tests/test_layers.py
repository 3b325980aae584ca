"""Arrows point one way, siblings do not know each other, and the core is pure (design: shape of the code)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pocketnode"

# What each part may import of pocketnode, besides itself and errors.
ALLOWED = {
    "crypto": set(),
    "protocol": {"crypto"},
    "services": {"protocol", "crypto", "shallow"},
    "wire": set(),
    "transport": {"wire", "protocol", "crypto"},
    "backends": {"services", "protocol", "crypto", "transport.ports", "silence"},
    "chain": {"store", "services", "protocol", "crypto"},
    "store": {"protocol", "crypto"},
    "web": {"chain", "store", "protocol", "crypto"},
    "supplier": {
        "transport",
        "backends",
        "chain",
        "store",
        "services",
        "protocol",
        "crypto",
        "daemon",
        "overlay",
        "shallow",
        "web",
    },
    "gateway": {
        "transport",
        "chain",
        "store",
        "services",
        "protocol",
        "crypto",
        "daemon",
        "overlay",
        "shallow",
        "silence",
        "web",
    },
    "settlement": {"transport", "chain", "store", "services", "protocol", "crypto", "daemon"},
    "bench": {"protocol", "crypto"},
    "localnet": {"chain", "store", "services", "protocol", "crypto", "daemon", "supplier", "gateway", "settlement"},
}
# The pure core touches nothing of these; crypto may have key generation elsewhere.
IMPURE = {
    "asyncio",
    "socket",
    "time",
    "datetime",
    "random",
    "secrets",
    "os",
    "pathlib",
    "io",
    "subprocess",
    "threading",
}


def parts() -> list[str]:
    return sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name not in {"cli", "__pycache__"})


def modules(part: str) -> Iterator[Path]:
    return (p for p in (PACKAGE / part).rglob("*.py") if "/pb/" not in str(p))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, typing-only imports too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaches(name: str, allowed: set[str]) -> bool:
    inner = name.removeprefix("pocketnode.")
    return any(inner == part or inner.startswith(part + ".") for part in allowed)


def test_every_part_has_a_rule() -> None:
    assert set(parts()) <= set(ALLOWED), "say in ALLOWED what a new part may import"


@pytest.mark.parametrize("part", parts())
def test_arrows_point_one_way(part: str) -> None:
    allowed = {*ALLOWED[part], part, "errors", "__version__"}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules(part)
        for name in imports(path)
        if name.startswith("pocketnode") and not reaches(name, allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_is_pure() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules("protocol")
        for name in imports(path)
        if name.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)
