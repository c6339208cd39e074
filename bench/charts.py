"""Pictures of results: groups of horizontal bars as SVG, readable on light and dark paper.

Written by hand and not by a plotting library: one kind of picture is needed, its text must stay text (so that it
can be searched and read aloud), its colours must follow the reader's scheme, and a repeated run should differ in
its numbers only.
"""

from __future__ import annotations

import itertools
import math
from html import escape

from bench.figures import Figure
from bench.results import Chart

__all__ = ["render", "round_limit"]

_WIDTH = 960
_LABEL_WIDTH = 300
_VALUE_WIDTH = 110
_BAR = 16
_GAP = 16
_TOP = 92
_STYLE = """
    .paper { fill: #ffffff; stroke: #d0d7de; }
    text { fill: #1f2328; font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
    .title { font-size: 17px; font-weight: 600; }
    .soft { fill: #57606a; font-size: 12px; }
    .grid { stroke: #d0d7de; }
    .spread { stroke: #1f2328; stroke-width: 1.5; }
    .s0 { fill: #8c959f; } .s1 { fill: #bf8700; } .s2 { fill: #0969da; } .s3 { fill: #8250df; } .s4 { fill: #1a7f37; }
    .s5 { fill: #cf222e; } .s6 { fill: #bf3989; }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117; stroke: #30363d; }
      text { fill: #e6edf3; }
      .soft { fill: #9198a1; }
      .grid { stroke: #30363d; }
      .spread { stroke: #e6edf3; }
      .s0 { fill: #6e7681; } .s1 { fill: #d29922; } .s2 { fill: #388bfd; } .s3 { fill: #a371f7; } .s4 { fill: #3fb950; }
      .s5 { fill: #f85149; } .s6 { fill: #db61a2; }
    }
"""
# So that the same one has the same colour in every picture; whoever is not here gets the next of the rest.
_CLASSES = {"nginx": "s0", "quiet": "s0", "haproxy": "s1", "proxy": "s2", "during": "s2", "direct": "s4"}
_OTHERS = ("s3", "s5", "s6")


def round_limit(value: float) -> float:
    """Return the next 1, 2, 2.5 or 5 times a power of ten: where an axis ends well."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def render(chart: Chart) -> str:
    """Return the picture. Raises ValueError where nothing was measured."""
    bars = [bar for series in chart["series"] for bar in series["bars"] if bar is not None]
    if not bars:
        raise ValueError(f"there is nothing to draw in {chart['name']!r}")
    limit = round_limit(max(bar["value"] for bar in bars))
    plot = _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    group = _BAR * len(chart["series"]) + _GAP
    height = _TOP + group * len(chart["labels"]) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title">',
        f'  <title id="title">{escape(chart["title"])}</title>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'  <text class="title" x="24" y="34">{escape(chart["title"])}</text>',
        *_legend(chart),
        *_grid(limit, chart["unit"], plot, height),
    ]
    for row, label in enumerate(chart["labels"]):
        top = _TOP + row * group
        middle = top + _BAR * len(chart["series"]) / 2 + 5
        lines.append(f'  <text x="{_LABEL_WIDTH - 12}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>')
        for index, (series, colour) in enumerate(zip(chart["series"], _classes(chart), strict=True)):
            bar = series["bars"][row]
            if bar is not None:
                lines += _bar(bar, colour, top + index * _BAR, plot / limit)
    return "\n".join([*lines, "</svg>", ""])


def _classes(chart: Chart) -> list[str]:
    others = itertools.cycle(_OTHERS)
    return [_CLASSES.get(series["name"]) or next(others) for series in chart["series"]]


def _legend(chart: Chart) -> list[str]:
    lines, x = [], 24
    for series, colour in zip(chart["series"], _classes(chart), strict=True):
        lines.append(f'  <rect class="{colour}" x="{x}" y="50" width="12" height="12" rx="2"/>')
        lines.append(f'  <text x="{x + 18}" y="61">{escape(series["name"])}</text>')
        x += 44 + 9 * len(series["name"])
    return lines


def _grid(limit: float, unit: str, plot: int, height: int) -> list[str]:
    lines, steps = [], 5
    for step in range(steps + 1):
        x = _LABEL_WIDTH + plot * step / steps
        text = f"{limit * step / steps:g}" + (f" {unit}" if step == steps else "")
        lines.append(f'  <line class="grid" x1="{x:.1f}" y1="{_TOP - 10}" x2="{x:.1f}" y2="{height - 34}"/>')
        lines.append(f'  <text class="soft" x="{x:.1f}" y="{height - 16}" text-anchor="middle">{escape(text)}</text>')
    return lines


def _bar(bar: Figure, colour: str, top: float, scale: float) -> list[str]:
    width, middle = bar["value"] * scale, top + (_BAR - 3) / 2
    shown = max(0.0, width)
    lines = [f'  <rect class="{colour}" x="{_LABEL_WIDTH}" y="{top}" width="{shown:.1f}" height="{_BAR - 3}" rx="2"/>']
    # A spread beyond the axis ends at the value's text; the tables have its figures.
    low, high = (min(max(0.0, bar[key] * scale), _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH + 8) for key in ("low", "high"))
    if high - low > 1:
        ends = f'x1="{_LABEL_WIDTH + low:.1f}" y1="{middle}" x2="{_LABEL_WIDTH + high:.1f}" y2="{middle}"'
        lines.append(f'  <line class="spread" {ends}/>')
    at = _LABEL_WIDTH + max(shown, high) + 8
    lines.append(f'  <text class="soft" x="{at:.1f}" y="{middle + 4}">{_number(bar["value"])}</text>')
    return lines


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
