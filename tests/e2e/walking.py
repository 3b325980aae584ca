"""A reader at a terminal: types the shell blocks of a page one after another, as they are written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketnode.localnet import ports

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])
FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PORT: Final = re.compile(r"(?<=127\.0\.0\.1:)\d{4}\b")
DONE: Final = "@@done"
BLOCK_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page, its language, its text without the indent of a list that it stands in."""

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        return self.text.strip().splitlines()[0]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for indent, language, text in FENCE.findall(page.read_text()):
        lines = (line.removeprefix(indent) for line in text.splitlines())
        yield Block(str(page.relative_to(ROOT)), language, "\n".join(lines) + "\n")


class Terminal:
    """One shell, in which what a block sets is there for the next one. Ports that a page names are those of `here`."""

    def __init__(self, folder: Path, environment: Mapping[str, str], gateway_port: str) -> None:
        self._folder = folder
        self._ports = {"3069": gateway_port}
        self._typed = 0
        self._shell = subprocess.Popen(
            ["bash", "-Eeo", "pipefail"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._type("trap 'echo \"failed: $BASH_COMMAND\"' ERR")

    def run(self, block: Block) -> str:
        """Type a block and return what it prints; the first command that fails ends the shell and the test."""
        script = self._folder / f"block-{self._typed}.sh"
        self._typed += 1
        script.write_text(PORT.sub(lambda found: self._port(found[0]), block.text))
        self._type(f"source {script} < /dev/null; echo; echo {DONE}")
        printed: list[str] = []
        started_s = time.monotonic()
        assert self._shell.stdout is not None
        late = threading.Timer(BLOCK_S, self._end)
        late.start()
        try:
            for line in self._shell.stdout:
                if line.rstrip() == DONE:
                    print(f"{time.monotonic() - started_s:6.1f} s  {block.page}  {block.first}")
                    return "".join(printed)
                printed.append(line)
        finally:
            late.cancel()
        raise AssertionError(f"{block.page}:\n{block.text}\n{''.join(printed)[-4000:]}")

    def home(self) -> None:
        """Stand where the walk began, as a reader does who turns to another page."""
        self.run(Block("", "sh", f"cd {self._folder}\n"))

    def close(self) -> None:
        """End the shell and every daemon that was started from it."""
        self._end()
        self._shell.wait(10)

    def _end(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._shell.pid, signum)
                self._shell.wait(5)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def _type(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{line}\n")
        self._shell.stdin.flush()

    def _port(self, written: str) -> str:
        return self._ports.setdefault(written, str(ports.free(1)[0]))
