"""placeholder"""

from pathlib import Path


def write(folder: Path, doc: Path, pictures: bool = True) -> None:
    doc.write_text("x")
