"""Charts as inline SVG: no library, no script, colours from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 150
LEFT, RIGHT, TOP, BOTTOM = 58, 6, 8, 20
POINTS = 288
"""A curve is drawn with at most so many points: each the largest of its part of the time."""


def curves(
    lines: Mapping[str, NDArray[np.floating]],
    title: str,
    ticks: Sequence[tuple[float, str]],
    moments: Sequence[str],
) -> str:
    """Several lines over the same time.

    Args:
        lines: by CSS class, shape (step,) each; NaN = no line there.
        title: for who cannot see it.
        ticks: (value, its words) on the vertical axis; the last is the top.
        moments: words at the beginning and end of the horizontal axis.
    """
    top = ticks[-1][0] or 1.0
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="chart">',
        f"<title>{escape(title)}</title>",
    ]
    for value, words in ticks:
        y = _y(value, top)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(words)}</text>'
        )
    for name, values in lines.items():
        parts.append(f'<path class="line {name}" d="{_path(values, top)}"/>')
    base = HEIGHT - 5
    parts.append(f'<text x="{LEFT}" y="{base}">{escape(moments[0])}</text>')
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{base}" text-anchor="end">{escape(moments[-1])}</text></svg>'
    )
    return "".join(parts)


def bars(rows: Sequence[tuple[str, float, float, str]], title: str) -> str:
    """Horizontal bars of `(label, whole, part, words)`: the part is drawn over the whole."""
    top = max((whole for _, whole, _, _ in rows), default=0.0) or 1.0
    step, left, width = 30, 150, WIDTH - 150 - 170
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {step * len(rows)}" role="img" class="chart">',
        f"<title>{escape(title)}</title>",
    ]
    for row, (label, whole, part, words) in enumerate(rows):
        y = row * step + 5
        parts.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(_cut(label, 22))}</text>'
            f'<rect class="whole" x="{left}" y="{y}" {_size(whole, top, width)}/>'
            f'<rect class="part" x="{left}" y="{y}" {_size(part, top, width)}/>'
            f'<text x="{left + width * max(whole, 0.0) / top + 8:.1f}" y="{y + 14}">'
            f"{escape(words)}</text>"
        )
    return "".join(parts) + "</svg>"


def largest_of_parts(values: NDArray[np.floating], points: int = POINTS) -> NDArray[np.float64]:
    """At most `points` values, each the largest of its part; NaN where a part has none."""
    wide = -(-len(values) // points) if len(values) else 1
    padded = np.full(-(-len(values) // wide) * wide, np.nan)
    padded[: len(values)] = values
    return np.asarray(np.fmax.reduce(padded.reshape(-1, wide), axis=1), dtype=np.float64)


def _path(values: NDArray[np.floating], top: float) -> str:
    drawn = largest_of_parts(values)
    span = WIDTH - LEFT - RIGHT
    words, pen_down = [], False
    for index, value in enumerate(drawn.tolist()):
        if value != value:
            pen_down = False
            continue
        x = LEFT + span * index / max(len(drawn) - 1, 1)
        words.append(f"{'L' if pen_down else 'M'}{x:.1f} {_y(value, top):.1f}")
        pen_down = True
    return "".join(words)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value / top, 1.0)


def _size(value: float, top: float, width: int) -> str:
    return f'width="{width * max(value, 0.0) / top:.1f}" height="20"'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
