#!/usr/bin/env python3
"""Draws docs/method.svg: from columns to S, from S to what is pushed how much, and to the loss.

> python docs/draw_method.py

The similarities and the weights of soft mining are computed by the library, from the columns shown.
"""

from pathlib import Path
from xml.sax.saxutils import escape

import torch

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge import Categorical, LanguageDistance
from masr_modules.pairwise.similarity import combine
from masr_modules.pairwise.weighting import soft_mine

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
#: Degrees at which prototypes point; of other languages, the anchor is nearest to that of Tamil.
PROTOTYPES = {"spa": 18.0, "por": 114.0, "tam": 101.0, "nld": 160.0}
ANCHOR = 62.0
KNOWLEDGE_WEIGHT, SCALE = 0.5, 10.0

INK, PALE, POSITIVE, NEGATIVE = "#1f2933", "#7b8794", "#1f7a4d", "#b3261e"
WIDTH, HEIGHT = 1090, 310


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


def push_weights(knowledge_weight: float) -> dict[str, float]:
    """Language -> how much soft mining pushes the first utterance from its prototype."""
    point = unit_vectors([ANCHOR])
    prototypes = unit_vectors(PROTOTYPES.values()).requires_grad_()
    known = Metadata.from_columns({"language": [*PROTOTYPES]}, METADATA.vocabularies)
    similarity = combine(SOURCES[:1], METADATA.select(slice(1)), "language", known)
    soft_mine(point, prototypes, similarity, SCALE, knowledge_weight).d_an.sum().backward()
    weights = prototypes.grad.norm(dim=1).tolist()
    return dict(zip(PROTOTYPES, weights, strict=True))


def unit_vectors(degrees) -> torch.Tensor:
    """(N, 2) on the circle."""
    angles = torch.deg2rad(torch.tensor([*degrees]))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def space(x: float, y: float) -> list[str]:
    """The space of languages: an utterance among the prototypes."""
    radius = 104
    own, weights = COLUMNS["language"][0], push_weights(KNOWLEDGE_WEIGHT)
    alone = push_weights(0.0)
    near, pushed = (max(w, key=w.get) for w in (alone, weights))
    (anchor,) = place(x, y, radius, [ANCHOR])
    parts = [
        f'<path d="M {x - radius:g} {y:g} A {radius} {radius} 0 0 1 {x + radius:g} {y:g}" '
        f'fill="none" stroke="{PALE}" stroke-dasharray="3 4"/>'
    ]
    places = place(x, y, radius, PROTOTYPES.values())
    outside = place(x, y + 5, 1.19 * radius, PROTOTYPES.values())
    for name, (left, top), label in zip(PROTOTYPES, places, outside, strict=True):
        colour = POSITIVE if name == own else NEGATIVE
        parts.append(line(*anchor, left, top, colour, 3 if name == own else 8 * weights[name]))
        corners = f"M {left:.1f} {top - 8:.1f} l 8 8 l -8 8 l -8 -8 z"
        parts.append(f'<path d="{corners}" fill="{colour}"/>')
        parts.append(text(*map(round, label), name, 14, colour, text_anchor="middle"))
    parts.append(f'<circle cx="{anchor[0]:.1f}" cy="{anchor[1]:.1f}" r="6" fill="{INK}"/>')
    (label,) = place(x, y + 5, 1.15 * radius, [ANCHOR])
    parts.append(text(*map(round, label), "1", 14, text_anchor="middle"))
    return parts + [
        text(x - 120, y + 26, "1 utterance, ◆ learned prototypes", 13),
        text(x - 120, y + 46, "pulled to its own label", 13, POSITIVE),
        text(x - 120, y + 66, f"pushed from others, most from its relative {pushed}", 13, NEGATIVE),
        text(x - 120, y + 86, f"by distance alone, most from {near}", 12, PALE),
    ]


def place(x: float, y: float, radius: float, degrees) -> list[tuple[float, float]]:
    """Points on the circle around (x, y)."""
    return [(x + radius * a, y - radius * b) for a, b in unit_vectors(degrees).tolist()]


def draw() -> str:
    """The picture, as SVG."""
    similarity = combine(SOURCES, METADATA)
    titles = (
        (30, "1  What is known"),
        (290, "2  How alike"),
        (525, "3  A space for each label"),
        (870, "4  Loss"),
    )
    parts = [text(x, 40, words, 18, font_weight="bold") for x, words in titles]
    parts += table(30, 84) + heat_map(305, 90, similarity.values)
    parts += space(648, 190)
    for x in (260, 492, 828):
        parts.append(f'<path d="M {x} 150 l 14 9 l -14 9 z" fill="{PALE}"/>')
    parts += [
        text(870, 92, "other labels push the more,", 14, NEGATIVE),
        text(870, 112, "the nearer and more alike", 14, NEGATIVE),
        text(870, 140, "pairs of utterances too,", 14),
        text(870, 160, "where pair_weight > 0", 14),
        text(870, 196, "added to any SSL loss:", 14),
        text(870, 224, "L = L_SSL + w · Σ L_label", 16),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif">\n<title>How MASR uses metadata</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_name("method.svg").write_text(draw(), encoding="utf-8")
