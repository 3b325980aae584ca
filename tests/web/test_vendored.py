"""What the dashboard serves of npm packages is what package.json pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.vendor_web import FILES, ROOT, VENDOR, copy


def test_the_copies_are_current(tmp_path: Path) -> None:
    if not (ROOT / "node_modules" / "uplot").is_dir():
        pytest.skip("no npm packages: `make setup` installs them")
    copy(tmp_path)
    for name in FILES:
        assert (VENDOR / name).read_bytes() == (tmp_path / name).read_bytes(), f"{name}: run tools/vendor_web.py"


def test_nothing_else_lies_beside_them() -> None:
    assert {str(p.relative_to(VENDOR)) for p in VENDOR.rglob("*") if p.is_file()} == set(FILES)
