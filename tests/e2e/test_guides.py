"""The guides, typed as they are written by one reader who goes from page to page with one terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.network import Localnet
from tests.e2e.walking import PAGES, ROOT, Block, Terminal, blocks

pytestmark = pytest.mark.e2e

# What a walk cannot type, by the first words of a block, and why.
NOT_TYPED: Final = {
    "make localnet": "starts what the walk runs on; tests/tools tries the set-up",
    "make setup": "these are how this test itself is run",
    "pocketnode localnet down": "ends what the walk runs on; test_running does it to a network of its own",
    "pocketnode supplier unbond": "a bond thaws for 60 blocks; tests/cli does it on a chain whose blocks come at once",
    "pocketnode app withdraw": "escrow thaws for 60 blocks; tests/cli does it on a chain whose blocks come at once",
    "pocketnode session report": "wants a supplier that signed twice; tests/cli does it with two such answers",
    "kubectl create": "wants a cluster; tests/deploy renders the chart with Helm and checks what comes out",
    "pip install pocketnode": "wants root and systemd; test_wheel installs the wheel",
}
# Pages in the order in which a reader takes them: operations goes on with the daemons of the two guides before it.
WALK: Final = ("quickstart", "developers", "gateway", "operator", "dashboard", "operations")
COMMANDS: Final = ("pocketnode", "make", "curl", "pip", "docker", "kubectl", "helm", "systemctl", "sqlite3", "source")


@pytest.fixture(scope="module")
def terminal(localnet: Localnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A shell in a folder that looks like the checkout in which `make localnet` runs."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / ".localnet").symlink_to(localnet.folder)
    (folder / "home").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POCKETNODE_")}
    typed = Terminal(folder, {**environment, "HOME": str(folder / "home")}, localnet.gateway_url.rpartition(":")[2])
    try:
        yield typed
    finally:
        typed.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_quickstart(terminal: Terminal) -> None:
    said = walk(terminal, "quickstart")
    assert '"choices"' in said
    assert '"result":"0x' in said.replace(" ", "")
    assert "supplier-1" in said


def test_developers(terminal: Terminal) -> None:
    said = walk(terminal, "developers")
    assert "data: [DONE]" in said
    assert "relays root" in said
    assert "tPOCK" in said


def test_gateway(terminal: Terminal) -> None:
    said = walk(terminal, "gateway")
    assert '"choices"' in said
    assert "signed by" in said


def test_operator(terminal: Terminal) -> None:
    said = walk(terminal, "operator")
    assert "reachable from here" in said
    assert "44 tPOCK per million units" in said


def test_dashboard(terminal: Terminal) -> None:
    assert '"in_flight"' in walk(terminal, "dashboard")


def test_operations(terminal: Terminal) -> None:
    said = walk(terminal, "operations")
    assert "pots (amounts are base units)" in said
    assert "first byte ms" in said  # the restored supplier has answered a relay


@pytest.mark.parametrize("page", ["README.md", "docs/developers.md"])
def test_programs_of_a_page_run(page: str, localnet: Localnet) -> None:
    programs = [block.text for block in blocks(ROOT / page) if block.language == "python"]
    assert len(programs) == 2
    for program in programs:
        own = program.replace('"KEY"', f'"{localnet.api_key}"').replace("Bearer KEY", f"Bearer {localnet.api_key}")
        own = own.replace("http://127.0.0.1:3069", localnet.gateway_url)
        done = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, f"{program}\n{done.stderr}"
        assert done.stdout.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_typed_or_has_a_reason(page: Path) -> None:
    walked = page.parent.name == "docs" and page.stem in WALK
    for block in blocks(page):
        if block.language == "sh":
            assert walked or reason(block), f"{block.page}: nobody types `{block.first}`"
        elif page.name != "commands.md":  # made from the commands, whose examples tests/cli holds to the options
            lines = [line.strip() for line in block.text.splitlines()]
            assert not [line for line in lines if line.split(" ")[0] in COMMANDS], block


def test_reasons_are_of_blocks_that_exist() -> None:
    first = [block.first for page in PAGES for block in blocks(page)]
    assert not [words for words in NOT_TYPED if not any(line.startswith(words) for line in first)]


def walk(terminal: Terminal, page: str) -> str:
    """Type a page from the checkout's folder; return all that it printed."""
    terminal.home()
    typed = [block for block in blocks(ROOT / "docs" / f"{page}.md") if block.language == "sh" and not reason(block)]
    assert typed
    return "".join(map(terminal.run, typed))


def reason(block: Block) -> str | None:
    starts: Callable[[str], bool] = block.first.startswith
    return next((why for words, why in NOT_TYPED.items() if starts(words)), None)
