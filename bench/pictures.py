"""Draws the results as SVG. Run by the plotter's own Python: `pictures.py RESULTS INTO`; prints what it drew."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

COLOURS = {
    "pocketnode": "#d1495b",
    "direct": "#8d99ae",
    "nginx": "#457b9d",
    "envoy": "#2a9d8f",
    "vllm-router": "#8e6c8a",
    "portkey": "#e9a03b",
    "litellm": "#4d4d4d",
}

Data = dict[str, Any]


def main(folder: Path, into: Path) -> None:
    # Without dates and random ids two drawings of the same numbers are the same file.
    mpl.rcParams.update(
        {"svg.hashsalt": "pocketnode", "font.size": 9, "axes.spines.top": False, "svg.fonttype": "none"}
    )
    for name, (result, draw) in PICTURES.items():
        source = folder / f"{result}.json"
        if not source.exists():
            continue
        figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
        draw(axes, json.loads(source.read_text())["data"])
        figure.savefig(into / name, metadata={"Date": None})
        plt.close(figure)
        print(name)


def capacity(axes: Axes, data: Data) -> None:
    for name, runs in data["capacity"].items():
        widths = list(runs)
        rates = [runs[width]["rate"] for width in widths]
        middle = [rate["median"] for rate in rates]
        errors = [
            [m - rate["min"] for m, rate in zip(middle, rates, strict=True)],
            [rate["max"] - m for m, rate in zip(middle, rates, strict=True)],
        ]
        axes.errorbar(widths, middle, yerr=errors, marker="o", capsize=3, label=name, color=colour(name))
    axes.set_yscale("log")
    axes.set_xlabel("connections")
    axes.set_ylabel("answers a second")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def latency(axes: Axes, data: Data) -> None:
    quantiles = ["p50", "p90", "p99", "p999"]
    for load, run in data["latency"]["pocketnode"].items():
        if "p50" not in run.get("added_ms", {}):
            continue  # nothing was answered
        added = [run["added_ms"][quantile]["median"] for quantile in quantiles]
        axes.plot(quantiles, added, marker="o", label=load)
    axes.set_yscale("log")
    axes.set_ylabel("ms added by gateway and supplier")
    axes.legend(frameon=False)


def cost(axes: Axes, data: Data) -> None:
    labels, values, colours = [], [], []
    for name, runs in data["capacity"].items():
        for role, facts in runs[data["width"]]["processes"].items():
            if role not in ("proxy", "gateway", "supplier"):
                continue
            labels.append(name if role == "proxy" else f"{name} {role}")
            values.append(facts["cpu_us_each"]["median"])
            colours.append(colour(name))
    bars = axes.barh(labels, values, color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_xlabel("CPU microseconds an answer (logarithmic)")
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)


def streams(axes: Axes, data: Data) -> None:
    for name, runs in data["timed"].items():
        shares = [100 * run["stall_free_share"]["median"] for run in runs.values()]
        axes.plot(list(runs), shares, marker="o", label=name, color=colour(name))
    axes.set_xlabel("streams at once, 50 tokens a second each")
    axes.set_ylabel("% without a stall")
    axes.set_ylim(-5, 105)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def colour(name: str) -> str:
    return COLOURS[name]


PICTURES: dict[str, tuple[str, Callable[[Axes, Data], None]]] = {
    "json-rpc-capacity.svg": ("relay", capacity),
    "json-rpc-latency.svg": ("relay", latency),
    "json-rpc-cost.svg": ("relay", cost),
    "chat-capacity.svg": ("chat", capacity),
    "chat-cost.svg": ("chat", cost),
    "stall-free-streams.svg": ("streams", streams),
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
