"""Starts the lab's gateway workers and waits for them: small, since its memory counts as the gateway's."""

from __future__ import annotations

import subprocess
import sys


def main(folder: str, count: int) -> None:
    """Run so many workers; they end with this process."""
    argv = [sys.executable, "-m", "bench.lab", "gateway", folder]
    workers = [subprocess.Popen([*argv, str(number)], stdin=subprocess.PIPE) for number in range(1, count + 1)]
    for worker in workers:
        worker.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
