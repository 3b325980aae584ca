"""Copy what the dashboard serves of npm packages into the package. A test proves the copies current."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENDOR: Final = ROOT / "pocketnode" / "web" / "static" / "vendor"
# What is served -> what it is a copy of, below node_modules.
FILES: Final = {
    "preact-htm.js": "htm/preact/standalone.module.js",
    "preact-htm.LICENSE": "htm/LICENSE",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "uplot.LICENSE": "uplot/LICENSE",
    "noble/sha3.js": "@noble/hashes/sha3.js",
    "noble/utils.js": "@noble/hashes/utils.js",
    "noble/_u64.js": "@noble/hashes/_u64.js",
    "noble/LICENSE": "@noble/hashes/LICENSE",
    "inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter.LICENSE": "@fontsource-variable/inter/LICENSE",
}


def copy(out: Path) -> None:
    """Write every file below `out`."""
    for name, source in FILES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "node_modules" / source, out / name)


if __name__ == "__main__":
    copy(Path(sys.argv[1]) if len(sys.argv) > 1 else VENDOR)
