"""Compile the contracts with forge and write what Python needs of them: `python contracts/build.py`.

Each `pocketnode/chain/artifacts/<Contract>.json` is `{"abi": [...], "immutables": [[start, length], ...], "runtime":
length, "bytecode": "0x..."}`: the last `runtime` bytes of what creates a contract are what stands on chain, but for the
immutables in it. The files lie in the tree so that an installed package deploys, and recognises what is deployed,
without a compiler; a test recompiles and compares.
"""

import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent))

from forge import ROOT, run

CONTRACTS = ("Params", "Services", "Registry", "Gateways", "Escrow", "Sessions", "Settlement", "TestToken")
ARTIFACTS = ROOT / "pocketnode" / "chain" / "artifacts"


def compiled(out: Path) -> dict[str, dict[str, Any]]:
    """Return the artifact of each contract, compiled afresh into `out`."""
    run("build", "--skip", "test", "--out", str(out), "--cache-path", str(out / "cache"))
    return {name: _artifact(out / f"{name}.sol" / f"{name}.json") for name in CONTRACTS}


def _artifact(path: Path) -> dict[str, Any]:
    full = json.loads(path.read_text())
    deployed = full["deployedBytecode"]
    places = [[ref["start"], ref["length"]] for refs in deployed["immutableReferences"].values() for ref in refs]
    runtime: str = deployed["object"].removeprefix("0x")
    assert full["bytecode"]["object"].endswith(runtime), f"{path.stem}: the runtime code is not the end of its creation"
    return {
        "abi": full["abi"],
        "immutables": sorted(places),
        "runtime": len(runtime) // 2,
        "bytecode": full["bytecode"]["object"],
    }


def text(artifact: dict[str, Any]) -> str:
    """Return the bytes of an artifact file: one line for each entry of the ABI, so that a diff can be read."""
    abi = ",\n".join(json.dumps(entry, sort_keys=True) for entry in artifact["abi"])
    rest = ",\n".join(f'"{name}": {json.dumps(artifact[name])}' for name in ("immutables", "runtime", "bytecode"))
    return f'{{"abi": [\n{abi}\n],\n{rest}}}\n'


def main() -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for name, artifact in compiled(ROOT / "contracts" / "out").items():
        (ARTIFACTS / f"{name}.json").write_text(text(artifact))
        print(f"{name}: {len(artifact['bytecode']) // 2 - 1} bytes")


if __name__ == "__main__":
    main()
