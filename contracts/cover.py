"""Hold the tests of contracts/src to 98% of lines and branches: `python contracts/cover.py`.

forge counts no line of inline assembly, so those are left out; what they compute is compared with Python's vectors.
"""

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent))

from forge import CONTRACTS, run

LEAST = 0.98
# The slow ones add no line: gas runs the same calls, and the invariants' handlers are not contracts of ours.
ARGUMENTS = ("coverage", "--ir-minimum", "--no-match-contract", "Gas|Invariants", "--report", "lcov")


def counted(lcov: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return hits by `file:line` and by `file:line:branch` of what is neither test nor assembly."""
    lines: dict[str, int] = {}
    branches: dict[str, int] = {}
    for record in lcov.split("end_of_record"):
        name, rows = _rows(record)
        if not name.startswith("src/") or name.startswith("src/testing/"):
            continue
        skipped = _assembly(CONTRACTS / name)
        for kind, value in rows:
            number, *rest = value.split(",")
            if int(number) in skipped:
                continue
            if kind == "DA":
                lines[f"{name}:{number}"] = int(rest[0])
            elif kind == "BRDA":
                branches[f"{name}:{number}:{rest[0]},{rest[1]}"] = 0 if rest[2] == "-" else int(rest[2])
    return lines, branches


def _rows(record: str) -> tuple[str, list[tuple[str, str]]]:
    rows = [(kind, value) for kind, _, value in (row.partition(":") for row in record.splitlines())]
    name = next((value for kind, value in rows if kind == "SF"), "")
    return name, [row for row in rows if row[0] in {"DA", "BRDA"}]


def _assembly(path: Path) -> set[int]:
    """Return the numbers of the lines that lie in assembly blocks."""
    inside: set[int] = set()
    depth = 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if depth or line.lstrip().startswith("assembly"):
            inside.add(number)
            depth += line.count("{") - line.count("}")
    return inside


def main() -> int:
    """Print what is missed; return 1 if that is too much."""
    report = CONTRACTS / "cache" / "lcov.info"
    run(*ARGUMENTS, "--report-file", str(report))
    enough = True
    for what, hits in zip(("lines", "branches"), counted(report.read_text()), strict=True):
        share = sum(1 for count in hits.values() if count) / len(hits)
        missed = sorted(place for place, count in hits.items() if not count)
        print(f"{what}: {share:.2%} of {len(hits)}", *missed, sep="\n  ")
        enough &= share >= LEAST
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
