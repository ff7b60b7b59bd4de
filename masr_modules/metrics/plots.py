"""Pictures of results with intervals and of curves, and what pictures of square tables share."""

import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from masr_modules.config.extras import extra

with extra("report"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names come from corpora, so two $ in a name must not be drawn as a formula. All code that draws
# text imports this module.
matplotlib.rcParams["text.parse_math"] = False

#: Okabe and Ito's colours, which the colour-blind can distinguish ("Color universal design", 2008);
#: their yellow is left out, because it cannot be seen on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
VERMILION, PURPLE, BLUE = "#D55E00", "#CC79A7", "#0072B2"

#: Colour and marker of the first system, the second, ...
STYLES = (
    (BLACK, "o"),
    (ORANGE, "s"),
    (SKY, "^"),
    (GREEN, "D"),
    (VERMILION, "P"),
    (PURPLE, "v"),
    (BLUE, "X"),
)
INK = "#333333"

#: A mean and its 95 % interval.
Estimate = tuple[float, float, float]
#: The values of a system in a panel: one estimate, or one for each label or place of a curve.
Shown = TypeVar("Shown", Estimate, Mapping[str, Estimate], Mapping[float, Estimate])


class Panel(NamedTuple, Generic[Shown]):
    """The panel of one metric in a picture.

    Arguments
    ---------
    title : str
        The metric, with its unit.
    less_is_better : bool
        Whether lower values are better, as for an error rate.
    values : mapping
        System -> its estimate; for rows, system -> label -> estimate; for curves, system -> place
        on the axis -> estimate.
    """

    title: str
    less_is_better: bool
    values: Mapping[str, Shown]


def _panels(panels: Sequence[Panel], width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * len(panels), height), layout="constrained", facecolor="white")
    every = figure.subplots(1, len(panels), squeeze=False)[0].tolist()
    for axes, panel in zip(every, panels, strict=True):
        better = "less" if panel.less_is_better else "more"
        axes.set_title(f"{panel.title}\n", fontsize=11, color=INK)
        note: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "fontsize": 8.5,
        }
        axes.annotate(
            f"{better} is better", (0.5, 1), xytext=(0, 5), **note, ha="center", color="#666666"
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, labelcolor=INK)
        axes.set_axisbelow(True)
    return figure, every


def _mark(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    style: tuple[str, str],
    across: bool,
    bars: ArrayLike,
    **more: Any,
) -> None:
    """Draws points, a line if there are several, and (2, N) whiskers where they are known."""
    colour, marker = style
    line: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 6, "linewidth": 1.8}
    axes.plot(x, y, **line | more)
    bars = np.asarray(bars, dtype=float)
    known = np.isfinite(bars).all(axis=0)
    if known.any():
        x, y = np.atleast_1d(x)[known], np.atleast_1d(y)[known]
        errors: dict[str, Any] = {"xerr" if across else "yerr": bars[:, known]}
        axes.errorbar(x, y, fmt="none", ecolor=colour, elinewidth=1.8, capsize=3, **errors)


def draw_intervals(
    panels: Sequence[Panel[Estimate]], styles: Mapping[str, tuple[str, str]]
) -> Figure:
    """Draws each system's mean and interval, with a panel for each metric.

    Arguments
    ---------
    panels : sequence of Panel
        The panels, all with the same systems.
    styles : mapping
        System -> colour and marker.

    Example
    -------
    >>> panels = [Panel("EER (%)", True, {"LASR": (14, 12, 16), "MASR": (8, 7, 9)})]
    >>> figure = draw_intervals(panels, {"LASR": STYLES[0], "MASR": STYLES[1]})
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['LASR', 'MASR']
    """
    systems = list(panels[0].values)
    figure, every = _panels(panels, 3.3, 0.36 * len(systems) + 1.0)
    for axes, panel in zip(every, panels, strict=True):
        for place, (system, (mean, low, high)) in enumerate(panel.values.items()):
            _mark(axes, mean, place, styles[system], True, [[mean - low], [high - mean]])
            where: dict[str, Any] = {
                "xytext": (0, 6),
                "textcoords": "offset points",
                "ha": "center",
            }
            axes.annotate(f"{mean:.1f}", (mean, place), **where, fontsize=8, color=INK)
        axes.set_yticks(range(len(systems)), systems if axes is every[0] else [""] * len(systems))
        axes.set_ylim(len(systems) - 0.5, -0.7)
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    return figure


def draw_rows(
    panels: Sequence[Panel[Mapping[str, Estimate]]],
    groups: Mapping[str, str],
    styles: Mapping[str, tuple[str, str]],
) -> Figure:
    """Draws a row for each label, with every system's mean and interval; groups are set apart.

    Arguments
    ---------
    panels : sequence of Panel
        The panels, whose values are system -> label -> estimate. If some are below 0, a line marks
        0. The first panel has all systems.
    groups : mapping
        Label -> its group, in the order of the rows.
    styles : mapping
        System -> colour and marker.

    Example
    -------
    >>> values = {"MASR": {"French": (80, 75, 85), "Dutch": (60, 50, 70)}}
    >>> groups = {"French": "Romance", "Dutch": "Germanic"}
    >>> figure = draw_rows([Panel("accuracy (%)", False, values)], groups, {"MASR": STYLES[0]})
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['French', 'Dutch']
    """
    places: dict[str, float] = {}
    names: dict[float, str] = {}
    place = 0.0
    for group, members in groupby(groups, groups.__getitem__):
        names[place - 0.75] = group
        for label in members:
            places[label] = place
            place += 1.0
        place += 0.9
    figure, every = _panels(panels, 5.4, 0.3 * place + 1.2)
    for axes, panel in zip(every, panels, strict=True):
        step = 0.6 / len(panel.values)
        for number, (system, row) in enumerate(panel.values.items()):
            aside = (number - (len(panel.values) - 1) / 2) * step
            mean, low, high = np.array(list(row.values())).T
            y = [places[label] + aside for label in row]
            points: dict[str, Any] = {"label": system, "linestyle": "none", "markersize": 5}
            _mark(axes, mean, y, styles[system], True, [mean - low, high - mean], **points)
            if np.nanmin([low, mean]) < 0:
                axes.axvline(0, color=INK, linewidth=1, zorder=0)
        axes.set_yticks(list(places.values()), list(places) if axes is every[0] else [])
        axes.set_ylim(place - 1.3, -1.2)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    for at, group in names.items():
        where: dict[str, Any] = {
            "transform": every[0].get_yaxis_transform(),
            "va": "center",
            "weight": "bold",
        }
        every[0].text(0.005, at, group, fontsize=8.5, color=INK, **where)
    _name_systems(figure, every[0], len(styles))
    return figure


def draw_curves(
    panels: Sequence[Panel[Mapping[float, Estimate]]],
    axis: str,
    styles: Mapping[str, tuple[str, str]],
) -> Figure:
    """Draws a line with intervals for each system, with a panel for each metric.

    Systems that share a place stand beside each other there. If the places span more than a
    factor of 20, the axis is logarithmic.

    Arguments
    ---------
    panels : sequence of Panel
        The panels, all with the same systems.
    axis : str
        The label of the axis.
    styles : mapping
        System -> colour and marker.

    Example
    -------
    >>> curves = {"MASR": {10: (76, 75, 77), 100: (79, 78, 80)}, "SSL": {100: (23, 22, 24)}}
    >>> styles = {"MASR": STYLES[0], "SSL": STYLES[1]}
    >>> figure = draw_curves([Panel("accuracy (%)", False, curves)], "labels (%)", styles)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['MASR', 'SSL']
    """
    figure, every = _panels(panels, 4.6, 4.2)
    for axes, panel in zip(every, panels, strict=True):
        places = sorted({place for curve in panel.values.values() for place in curve})
        logarithmic = places[0] > 0 and places[-1] > 20 * places[0]
        step = 0.05 if logarithmic else 0.012 * (places[-1] - places[0])
        for number, (system, curve) in enumerate(panel.values.items()):
            aside = (number - (len(panel.values) - 1) / 2) * step
            x = [place * (1 + aside) if logarithmic else place + aside for place in curve]
            mean, low, high = np.array(list(curve.values())).T
            _mark(axes, x, mean, styles[system], False, [mean - low, high - mean], label=system)
        axes.set_xscale("log" if logarithmic else "linear")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
        axes.set_xlabel(axis, fontsize=9, color=INK)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    _name_systems(figure, every[0], 3)
    return figure


def _name_systems(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    place: dict[str, Any] = {
        "loc": "outside lower center",
        "ncols": min(columns, len(names)),
        "frameon": False,
    }
    figure.legend(handles, names, **place, fontsize=9)


def mark_groups(axes: Axes, groups: Sequence[str], color: str = "white") -> None:
    """Draws lines between groups of neighbouring rows and columns, and their names on the right.

    Arguments
    ---------
    axes : Axes
        The axes, which show an image of a square table.
    groups : sequence of str
        The group of each row; an empty string is a group without a name.
    color : str
        The colour of the lines.

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
    """Writes a picture whole or not at all, in the format of the path's extension.

    The same picture gives the same bytes, also as SVG.

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
    undated = {"metadata": {"Date": None, "Creator": None}}
    options: dict[str, Any] = undated if path.suffix == ".svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "masr"}):
        figure.savefig(temporary, dpi=150, bbox_inches="tight", **options)
    temporary.replace(path)
