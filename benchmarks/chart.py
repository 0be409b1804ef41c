"""Draws the results of overhead.py as an SVG of horizontal bars on a logarithmic scale."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LABEL, BAR, GAP, HEAD = 760, 210, 16, 4, 34
SHORTEST, LONGEST = 0.2, 10_000

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #334155; }
.head { font-weight: 600; font-size: 13px; }
.ours { fill: #0d9488; }
.peer { fill: #94a3b8; }
.line { stroke: #94a3b8; stroke-opacity: .3; }
@media (prefers-color-scheme: dark) { text { fill: #cbd5e1; } .ours { fill: #2dd4bf; } .peer { fill: #64748b; } }
"""


def draw(results: Mapping[tuple[str, str], Sequence[float]], labels: Sequence[str]) -> str:
    """Return the chart: one group of bars for each kind of request, the fastest first."""
    parts: list[str] = []
    y = 8
    for index, label in enumerate(labels):
        y = _draw_group(parts, y, label, sorted((times[index], *key) for key, times in results.items()))
    description = "Microseconds that a request spends in the session layer, by library"
    grid = "".join(
        f'<line class="line" x1="{_x(power)}" x2="{_x(power)}" y1="8" y2="{y}"/>' for power in (1, 10, 100, 1000)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" role="img"'
        f' aria-label="{description}"><style>{STYLE}</style>{grid}{"".join(parts)}</svg>\n'
    )


def _draw_group(parts: list[str], y: int, label: str, rows: Sequence[tuple[float, str, str]]) -> int:
    parts.append(f'<text class="head" x="{LABEL}" y="{y + 16}">{escape(label)}, µs a request (log scale)</text>')
    y += HEAD - 8
    for time, name, kind in rows:
        side = "ours" if name.startswith("wsgisessions") else "peer"
        end = _x(max(time, SHORTEST))
        parts.append(
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}, {escape(kind)}</text>'
            f'<rect class="{side}" x="{LABEL}" y="{y}" width="{end - LABEL:.1f}" height="{BAR}" rx="3"/>'
            f'<text x="{end + 6:.1f}" y="{y + 12}">{_number(time)}</text>'
        )
        y += BAR + GAP
    return y + 12


def _x(time: float) -> float:
    share = math.log(time / SHORTEST) / math.log(LONGEST / SHORTEST)
    return round(LABEL + share * (WIDTH - LABEL - 50), 1)


def _number(time: float) -> str:
    return f"{time:.2f}" if time < 10 else f"{time:,.0f}"
