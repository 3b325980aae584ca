"""Generate pocketnode/wire/pb from proto/. A test proves the result current."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def generate(out: Path) -> None:
    """Write the generated modules below `out`, or exit with protoc's own message."""
    out.mkdir(parents=True, exist_ok=True)
    sources = [str(p) for p in sorted((ROOT / "proto/pocketnode/v1").glob("*.proto"))]
    include = f"--proto_path=pocketnode/wire/pb={ROOT / 'proto/pocketnode/v1'}"
    args = ["protoc", include, f"--python_out={out}", f"--pyi_out={out}"]
    code = protoc.main([*args, *(f"pocketnode/wire/pb/{Path(s).name}" for s in sources)])
    if code:
        sys.exit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
