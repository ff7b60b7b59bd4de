"""What pictures of label x label tables share."""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def mark_groups(axes: Axes, groups: Sequence[str], color: str = "white") -> None:
    """Lines between groups of neighbouring rows and columns, and the groups' names on the right.

    Arguments
    ---------
    axes : Axes
        Shows an image of a square table.
    groups : sequence of str
        The group of each row; empty names are not written.
    color : str
        Of the lines.

    Example
    -------
    >>> axes = Figure().add_subplot()
    >>> mark_groups(axes, ["Uralic", "Turkic", "Turkic"])
    >>> len(axes.lines)  # one across and one down
    2
    """
    start, middles, names = 0, [], []
    for group, members in groupby(groups):
        end = start + len(list(members))
        middles.append((start + end - 1) / 2)
        names.append(group)
        if end < len(groups):
            axes.axhline(end - 0.5, color=color, linewidth=1.5)
            axes.axvline(end - 0.5, color=color, linewidth=1.5)
        start = end
    right = axes.secondary_yaxis("right")
    right.set_yticks(middles, names, fontsize=8)
    right.tick_params(length=0)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a picture whole or not at all; its kind is told by the name's ending.

    Example
    -------
    >>> path = getfixture("tmp_path") / "figures" / "empty.png"
    >>> save_figure(Figure(figsize=(1, 1)), path)
    >>> [file.name for file in path.parent.iterdir()]
    ['empty.png']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(temporary, dpi=150, bbox_inches="tight")
    temporary.replace(path)
