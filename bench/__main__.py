"""`python -m bench`: measure, then write results, pictures and docs/performance.md.

python -m bench                          everything (about an hour)
python -m bench --only relay,streams     some scenarios; the others' results stay
python -m bench --smoke                  everything with tiny counts, into a scratch folder
python -m bench --report                 write pictures and prose from the results that are there
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvloop

from bench import report, results
from bench.peers import PEERS
from bench.run import NAMES, Runner
from bench.scenarios import FULL, SMOKE
from bench.tools import ROOT
from pocketnode.cli.logs import log_to_stderr
from pocketnode.errors import PocketError

DOCS: Final = ROOT / "docs" / "performance.md"


def main() -> int:
    options = parsed(sys.argv[1:])
    log_to_stderr("warning", as_json=False)
    try:
        if options.smoke:
            return smoke(options.only)
        if not options.report:
            counts = replace(FULL, rounds=options.rounds or FULL.rounds, seconds=options.seconds or FULL.seconds)
            uvloop.run(Runner(counts, results.FOLDER, options.peers).run(options.only))
        report.write(results.FOLDER, DOCS)
    except PocketError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def smoke(only: list[str]) -> int:
    """Run everything with tiny counts, without the peers (they are large), and write a report nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="pocketnode-bench-") as folder:
        uvloop.run(Runner(SMOKE, Path(folder)).run(only))
        report.write(Path(folder), Path(folder) / "performance.md", pictures=False)
        print((Path(folder) / "performance.md").read_text())
    return 0


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(argv)
    unknown = set(options.only) - set(NAMES)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
