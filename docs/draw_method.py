#!/usr/bin/env python3
"""Draws docs/method.svg: from columns to S, from S to mined pairs, from pairs to the loss.

> python docs/draw_method.py

The similarities and the mined pairs are computed by the library, from the columns shown.
"""

from pathlib import Path
from xml.sax.saxutils import escape

import torch

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge import Categorical, LanguageDistance
from masr_modules.pairwise.mining import mine
from masr_modules.pairwise.similarity import combine

COLUMNS = {
    "language": ["spa", "spa", "por", "tam", "nld"],
    "speaker": ["Ana", "Ben", "Ana", "Devi", ""],
    "gender": ["female", "male", "female", "female", "male"],
}
METADATA = Metadata.from_columns(COLUMNS)
SOURCES = [
    LanguageDistance("language", kinds=["genetic", "geographic", "featural"], metadata=METADATA),
    Categorical("speaker"),
    Categorical("gender", weight=0.5),
]
#: Where each embedding points, degrees: the Tamil one is the nearest of another language.
ANGLES = (62.0, 20.0, 104.0, 90.0, 160.0)
KNOWLEDGE_WEIGHT = 0.5

INK, PALE, POSITIVE, NEGATIVE = "#1f2933", "#7b8794", "#1f7a4d", "#b3261e"
WIDTH, HEIGHT = 1000, 320


def text(x: float, y: float, words: str, size: int = 14, colour: str = INK, **style: str) -> str:
    """Words, their left end at (x, y) unless `text-anchor` says otherwise."""
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    start = f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"'
    return f"{start}{extra}>{escape(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.5) -> str:
    """From one point to another."""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


def table(x: float, y: float) -> list[str]:
    """The batch's columns."""
    widths = (24, 72, 64, 60)
    starts = [x + sum(widths[:n]) for n in range(4)]
    parts = [text(starts[n + 1], y, name, 13, PALE) for n, name in enumerate(COLUMNS)]
    for row, cells in enumerate(zip(*COLUMNS.values(), strict=True)):
        height = y + 28 + 26 * row
        parts.append(text(starts[0], height, str(row + 1), 13, PALE))
        for start, cell in zip(starts[1:], cells, strict=True):
            parts.append(text(start, height, cell or "–", 14, INK if cell else PALE))
    return [*parts, text(x, y + 172, "An empty cell says nothing", 12, PALE)]


def heat_map(x: float, y: float, values: torch.Tensor) -> list[str]:
    """S of all pairs; the darker, the more alike."""
    parts, side = [], 32
    for row, similarities in enumerate(values.tolist()):
        parts.append(text(x - 14, y + side * row + 21, str(row + 1), 13, PALE))
        parts.append(text(x + side * row + 16, y - 6, str(row + 1), 13, PALE, text_anchor="middle"))
        for column, value in enumerate(similarities):
            left, top, light = x + side * column, y + side * row, round(245 - 170 * value)
            parts.append(
                f'<rect x="{left}" y="{top}" width="30" height="30" rx="3" '
                f'fill="rgb({light - 30},{light - 8},{min(255, light + 12)})"/>'
            )
            if row != column:
                ink = "#ffffff" if value > 0.6 else INK
                middle = (left + 15, top + 20)
                parts.append(text(*middle, f"{value:.1f}", 12, ink, text_anchor="middle"))
    return [*parts, text(x, y + 178, "S: weighted mean of the", 12, PALE)] + [
        text(x, y + 194, "sources that know the pair", 12, PALE)
    ]


def space(x: float, y: float, points: torch.Tensor, positive: int, mined: int, near: int) -> list:
    """The embeddings on their circle, and the pairs of the first as anchor."""
    radius = 118
    places = [(x + radius * a, y - radius * b) for a, b in points.tolist()]
    parts = [
        f'<path d="M {x - radius:g} {y:g} A {radius} {radius} 0 0 1 {x + radius:g} {y:g}" '
        f'fill="none" stroke="{PALE}" stroke-dasharray="3 4"/>',
        line(*places[0], *places[positive], POSITIVE, 3),
        line(*places[0], *places[mined], NEGATIVE, 3),
    ]
    for number, (left, top) in enumerate(places):
        colour = {0: INK, positive: POSITIVE, mined: NEGATIVE}.get(number, PALE)
        parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="6" fill="{colour}"/>')
        out = (x + 1.17 * (left - x), y + 1.17 * (top - y) + 5)
        parts.append(text(*map(round, out), str(number + 1), 14, colour, text_anchor="middle"))
    return parts + [
        text(x - 120, y + 26, "1 anchor", 13),
        text(x - 120, y + 46, f"{positive + 1} positive: same language, least alike", 13, POSITIVE),
        text(x - 120, y + 66, f"{mined + 1} negative: same speaker, close relative", 13, NEGATIVE),
        text(x - 120, y + 86, f"distance alone would take {near + 1}", 12, PALE),
    ]


def draw() -> str:
    """The picture, as SVG."""
    similarity = combine(SOURCES, METADATA)
    angles = torch.deg2rad(torch.tensor(ANGLES))
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    pairs = mine(points, points, similarity, "knowledge", KNOWLEDGE_WEIGHT)
    nearest = mine(points, points, similarity, "hardest").negative[0].item()
    mined = (pairs.positive[0].item(), pairs.negative[0].item(), nearest)
    titles = ((30, "1  What is known"), (290, "2  How alike"), (510, "3  Mining"), (795, "4  Loss"))
    parts = [text(x, 40, words, 18, font_weight="bold") for x, words in titles]
    parts += table(30, 84) + heat_map(305, 90, similarity.values)
    parts += space(630, 196, points, *mined)
    for x in (260, 484, 768):
        parts.append(f'<path d="M {x} 150 l 14 9 l -14 9 z" fill="{PALE}"/>')
    parts += [
        text(795, 92, "pull the positive,", 14, POSITIVE),
        text(795, 112, "push the negative:", 14, NEGATIVE),
        text(795, 144, "φ(d₊ − d₋ + margin)", 16),
        text(795, 186, "added to any SSL loss:", 14),
        text(795, 214, "L = L_SSL + w · L_MASR", 16),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif">\n<title>How MASR uses metadata</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_name("method.svg").write_text(draw(), encoding="utf-8")
