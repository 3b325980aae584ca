"""What a person at a terminal sees: completion in a real shell, a bar on what takes long, a question before money."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from pocketnode.cli.coin import Amount, Coin
from pocketnode.cli.main import main

BIN = Path(sys.executable).parent
BASH = """
eval "$(pocketnode completion bash)"
COMP_WORDS=({words}); COMP_CWORD={place}
_pocketnode_completion pocketnode
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
SLOW = "import time; from pocketnode.cli.busy import busy\nwith busy('counting', {total}):\n    time.sleep({seconds})"


def completed(shell: str, script: str) -> list[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pocketnode", "supp"], "supplier"),
        (["pocketnode", "gateway", "keys", "ro"], "rotate"),
        (["pocketnode", "app", "grant", "--ca"], "--cap"),
        (["pocketnode", "completion", "f"], "fish"),
        (["pocketnode", "gateway", "start", "--set", "limits.conc"], "limits.concurrency="),
    ],
)
def test_bash_completes(words: list[str], found: str) -> None:
    script = BASH.format(words=" ".join(words), place=len(words) - 1)
    assert found in completed("bash", script)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_bytes(
        subprocess.run([BIN / "pocketnode", "completion", shell], capture_output=True, check=True).stdout
    )
    subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize("option", ["--json", "--config", "--set", "--field"])
def test_every_option_is_offered(option: str) -> None:
    offered = ShellComplete(main, {}, "pocketnode", "_X").get_completions(["gateway", "check"], option)
    assert option in {item.value for item in offered}


def drawn(seconds: float, total: str = "None") -> str:
    """Run something slow in a terminal of its own and return what it drew."""
    above, below = pty.openpty()
    code = SLOW.format(seconds=seconds, total=total)
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=below, stderr=below, env=environment) as child:
        os.close(below)
        shown = b""
        try:
            while part := os.read(above, 4096):
                shown += part
        except OSError:  # Linux says so when the other end is closed
            pass
        assert child.wait() == 0
    os.close(above)
    return shown.decode()


def test_what_takes_over_a_second_shows_a_bar_in_a_terminal() -> None:
    assert "counting" in drawn(1.6, "2")
    assert drawn(0.1) == ""


def test_nothing_is_drawn_where_there_is_no_terminal() -> None:
    code = SLOW.format(seconds=1.2, total=2)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_an_amount_is_tokens_for_people_and_base_units_for_programs() -> None:
    coin = Coin("TOK", 6)
    assert str(Amount(1_000_000_000, coin)) == "1,000 TOK"
    assert str(Amount(1, coin)) == "0.000001 TOK"
    assert str(Amount(5, Coin("wei", 0))) == "5 wei"
    assert f"{Amount(10, coin):d}" == "10"
