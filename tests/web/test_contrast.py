"""Text can be read by everyone: WCAG AA for every colour of words on every ground that it stands on."""

from __future__ import annotations

import re

import pytest

from pocketnode.web.serve import STATIC

CSS = (STATIC / "css" / "base.css").read_text()
BLOCKS = {"light": r":root \{(.*?)\}", "dark": r':root\[data-theme="dark"\] \{(.*?)\}'}
PLAIN = ("ground", "surface", "raised", "sunk")
PAIRS = [(words, ground) for words in ("text", "text-2", "text-3", "accent-text") for ground in PLAIN]
PAIRS += [(tone, ground) for tone in ("good", "warn", "bad") for ground in (f"{tone}-soft", "surface")]
PAIRS += [("accent-text", "accent-soft"), ("text-2", "sunk")]


def colours(theme: str) -> dict[str, str]:
    block = re.search(BLOCKS[theme], CSS, re.DOTALL)
    assert block
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block[1]))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", BLOCKS)
def test_words_stand_out(theme: str) -> None:
    known = colours(theme)
    for words, ground in PAIRS:
        light, dark = sorted((luminance(known[words]), luminance(known[ground])), reverse=True)
        ratio = (light + 0.05) / (dark + 0.05)
        assert ratio >= 4.5, f"{theme}: {words} on {ground} is {ratio:.2f}"


@pytest.mark.parametrize("theme", BLOCKS)
def test_lines_of_charts_can_be_told_from_the_ground(theme: str) -> None:
    known = colours(theme)
    for line in ("c1", "c2", "c3", "c4", "c5", "c6"):
        light, dark = sorted((luminance(known[line]), luminance(known["surface"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, f"{theme}: {line}"
