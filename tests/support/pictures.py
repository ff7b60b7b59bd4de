"""Compares what two SVGs show, not how a release of matplotlib writes them or lays them out."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
#: Of a panel's width or height. What is drawn by its data does not depend on where the panel lies.
TOLERANCE = 0.0005
#: Points. A text stands beside its place by its own width and by its distance from an axis.
TEXT_TOLERANCE = 8.0

Point = tuple[float, float]


class Text(NamedTuple):
    """A text and where it begins."""

    words: str
    at: Point


class Drawing(NamedTuple):
    """A path, or marks of one kind in a row, and where their points are."""

    kind: str
    colour: str
    points: tuple[Point, ...]


class Panel(NamedTuple):
    """What a panel, or the picture outside of its panels, holds, in the order of drawing."""

    texts: list[Text]
    drawings: list[Drawing]
    frame: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # left, top, width, height

    def place(self, point: Point) -> Point:
        """In fractions of the frame; all 0 where there is none."""
        left, top, width, height = self.frame
        if not width:
            return 0.0, 0.0
        return (point[0] - left) / width, (point[1] - top) / height


def read_picture(path: Path) -> dict[str, Panel]:
    """Panel -> what it shows, in fractions of its frame; "" is what lies outside of the panels.

    There, as in a legend, order tells what belongs to what, and places are all 0.
    """
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser).getroot()
    kinds = {
        f"#{shape.get('id')}": "mark " + "".join(re.findall("[A-Za-z]", shape.get("d")))
        for shape in root.iter(f"{SVG}path")
        if shape.get("id") and shape.get("d")  # a space has no shape
    }
    (figure,) = (group for group in root.iter(f"{SVG}g") if group.get("id") == "figure_1")
    found = {"": Panel([], [])}
    for group in figure:
        name = group.get("id", "")
        if name.startswith("axes"):
            frame = points_of(next(p for p in group.iter(f"{SVG}path")).get("d"))
            (left, right), (top, bottom) = (
                (min(side), max(side)) for side in zip(*frame, strict=True)
            )
            found[name] = Panel([], [], (left, top, right - left, bottom - top))
            _read(group, found[name], kinds)
        elif name != "patch_1":  # the ground
            _read(group, found[""], kinds)
    return found


def points_of(path: str) -> list[Point]:
    """The points of a path's `d`."""
    numbers = list(map(float, re.findall(NUMBER, path)))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _read(group: ElementTree.Element, panel: Panel, kinds: dict[str, str]) -> None:
    words = None
    for child in group:
        if child.tag is ElementTree.Comment:  # stands before the shapes of its letters
            words = child.text.strip()
        elif words is not None:
            shift = re.match(rf"translate\(({NUMBER}) ({NUMBER})\)", child.get("transform"))
            panel.texts.append(Text(words, panel.place(tuple(map(float, shift.groups())))))
            words = None
        elif child.tag == f"{SVG}path":
            points = tuple(map(panel.place, points_of(child.get("d"))))
            panel.drawings.append(Drawing("path", _colour(child), points))
        elif child.tag == f"{SVG}use":
            at = panel.place((float(child.get("x")), float(child.get("y"))))
            panel.drawings.append(Drawing(kinds[child.get(LINK)], _colour(child), (at,)))
        elif child.tag == f"{SVG}g":
            _read(child, panel, kinds)


def _colour(shape) -> str:
    style = dict(re.findall(r"([\w-]+): ([^;]+)", shape.get("style", "")))
    fill = style.get("fill", "none")
    return style.get("stroke", "none") if fill == "none" else fill


def picture_differences(one: Path, other: Path) -> list[str]:
    """What one picture shows and the other does not; empty where they show the same.

    They may differ in the letters' shapes, in where panels lie and how large they are, and in
    the names of what is inside. Texts, marks and lines have to be the same in kind, number and
    colour, and to stand in the same places of their panels.
    """
    first, second = read_picture(one), read_picture(other)
    if first.keys() != second.keys():
        return [f"panels {sorted(first)} and {sorted(second)}"]
    found = []
    for name, panel in first.items():
        text_room = [TEXT_TOLERANCE / max(side, 1.0) for side in panel.frame[2:]]
        for a, b in zip(panel.texts, second[name].texts, strict=False):
            if a.words != b.words or not _near([a.at], [b.at], *text_room):
                found.append(f"{name or 'outside'}: text {a} and {b}")
        for a, b in zip(panel.drawings, second[name].drawings, strict=False):
            if a[:2] != b[:2] or not _near(a.points, b.points, TOLERANCE, TOLERANCE):
                found.append(f"{name or 'outside'}: {a} and {b}")
        counts = [(len(shown.texts), len(shown.drawings)) for shown in (panel, second[name])]
        if counts[0] != counts[1]:
            found.append(f"{name or 'outside'}: texts and drawings {counts[0]} and {counts[1]}")
    return found


def _near(some, others, across: float, down: float) -> bool:
    return len(some) == len(others) and all(
        abs(x - other_x) <= across and abs(y - other_y) <= down
        for (x, y), (other_x, other_y) in zip(some, others, strict=True)
    )
