"""The pictures of an analysis: confusions, trees, map, distances."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import dendrogram, leaves_list

from encoder_analysis.colours import GREY, styles
from encoder_analysis.mantel import Correlation
from encoder_analysis.trees import Trees
from encoder_analysis.tsne import name_places
from masr_modules.config.extras import extra
from masr_modules.knowledge.descent import display_name
from masr_modules.metrics.plots import mark_groups, save_figure

with extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke


def save_picture(figure: Figure, path: Path) -> None:
    """Saves a picture as PNG and as SVG, on a white ground."""
    figure.set_facecolor("white")
    for ending in (".png", ".svg"):
        save_figure(figure, path.with_name(path.name + ending))


def draw_confusions(
    matrices: Mapping[str, np.ndarray], languages: Sequence[str], group_of: Mapping[str, str]
) -> Figure:
    """Draws confusion matrices side by side, with a colour scale for mistakes alone.

    The diagonal is written in numbers and not coloured, because on its scale mistakes would be
    invisible.

    Arguments
    ---------
    matrices : mapping of str to np.ndarray
        System -> (L, L) confusion matrix.
    languages : sequence of str
        Languages of rows and columns, with relatives side by side.
    group_of : mapping of str to str
        Language -> group; lines separate the groups.
    """
    side = max(3.2, 0.2 * len(languages))  # inches; room for a line of text in each row
    figure = Figure(figsize=((side + 1.2) * len(matrices) + 2.0, side + 1.8), layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    mistakes = {name: _without_diagonal(matrix) for name, matrix in matrices.items()}
    top = max(0.01, *(np.nanmax(matrix) for matrix in mistakes.values()))
    ticks = range(len(languages))
    for axes, (name, matrix) in zip(panels, mistakes.items(), strict=True):
        axes.set_facecolor("lightgrey")
        image = axes.imshow(100 * matrix, vmin=0, vmax=100 * top, cmap="cividis")
        first = axes is panels[0]
        axes.set_yticks(ticks, map(display_name, languages) if first else languages, fontsize=8)
        axes.set_xticks(ticks, languages, fontsize=8, rotation=90)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("predicted", fontsize=9)
        groups = [group_of[language] for language in languages]
        mark_groups(axes, groups if axes is panels[-1] else _nameless(groups))
        for i, share in enumerate(np.diagonal(matrices[name])):
            if not np.isnan(share):
                axes.text(i, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=6)
    panels[0].set_ylabel("spoken", fontsize=9)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.6, pad=0.02)
    bar.set_label("taken for it (%); diagonal: named right (%)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def _without_diagonal(matrix: np.ndarray) -> np.ndarray:
    matrix = matrix.copy()
    np.fill_diagonal(matrix, np.nan)
    return matrix


def _nameless(groups: Sequence[str]) -> list[str]:
    """Renames groups to different blank names, so that they stay separate without a title."""
    names = list(dict.fromkeys(groups))
    return [" " * names.index(group) for group in groups]


def draw_trees(
    trees: Trees, languages: Sequence[str], group_of: Mapping[str, str], name: str
) -> Figure:
    """Draws the trees of centroids and of descent, with a line that joins each language in both.

    Arguments
    ---------
    trees : Trees
        Trees of L languages.
    languages : sequence of str
        The languages, in the order of the distances from which the trees were grown.
    group_of : mapping of str to str
        Language -> group, which gives its colour.
    name : str
        Name of the system.
    """
    height = max(3.0, 0.24 * len(languages) + 1.2)
    figure = Figure(figsize=(11, height), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 0.9, 1))
    for axes, tree, side in ((left, trees.ours, "left"), (right, trees.descent, "right")):
        dendrogram(
            tree,
            orientation=side,
            ax=axes,
            no_labels=True,
            color_threshold=0,
            above_threshold_color="#404040",
        )
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_ylim(0, 10 * len(languages))
        axes.set_xlim(*np.array(axes.get_xlim()) + _beyond_zero(axes.get_xlim()))
    left.set_title(f"{name}: centroids (cophenetic {trees.own_cophenetic:.2f})", fontsize=10)
    left.set_xlabel("cosine distance", fontsize=9)
    right.set_title(f"descent (cophenetic {trees.descent_cophenetic:.2f})", fontsize=10)
    right.set_xlabel("genetic distance, URIEL+", fontsize=9)
    middle.set_title(f"correlation of the trees {trees.between:.2f}", fontsize=10)
    _join_leaves(middle, trees, languages, group_of)
    return figure


def _beyond_zero(limits: tuple[float, float]) -> np.ndarray:
    """Returns shifts that move the limit at 0 outwards, so that forks of distance 0 are visible."""
    far = max(limits)
    return np.where(np.array(limits) == far, 0.0, -0.03 * far)


def _join_leaves(
    axes: Axes, trees: Trees, languages: Sequence[str], group_of: Mapping[str, str]
) -> None:
    colours = {group: colour for group, (colour, _) in styles(group_of).items()}
    ours, descent = (np.argsort(leaves_list(tree)) for tree in (trees.ours, trees.descent))
    for i, language in enumerate(languages):
        heights, colour = (10 * ours[i] + 5, 10 * descent[i] + 5), colours[group_of[language]]
        axes.plot((0.28, 0.72), heights, color=colour, linewidth=2)
        for x, y, align in zip((0.26, 0.74), heights, ("right", "left"), strict=True):
            text = display_name(language) if align == "left" else language
            axes.text(x, y, text, ha=align, va="center", fontsize=8)
    axes.set_xlim(0.1, 1.35)
    axes.set_ylim(0, 10 * len(languages))
    axes.axis("off")


def draw_map(
    places: np.ndarray, labels: np.ndarray, group_of: Mapping[str, str], name: str
) -> Figure:
    """Draws utterances on a plane, coloured by group, with each code where its language is densest.

    Arguments
    ---------
    places : np.ndarray
        (N, 2) coordinates.
    labels : np.ndarray
        (N,) languages.
    group_of : mapping of str to str
        Language -> group.
    name : str
        Name of the system.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.add_subplot()
    groups = np.array([group_of[label] for label in labels])
    for group, (colour, (shape, _)) in styles(group_of).items():
        x, y = places[groups == group].T
        # The points are an image inside the SVG, which thousands of shapes would make slow.
        axes.scatter(
            x,
            y,
            s=10,
            c=colour,
            marker=shape,
            alpha=0.6,
            linewidths=0,
            label=group,
            rasterized=True,
        )
    for label, (x, y) in name_places(places, labels).items():
        text = axes.text(x, y, label, ha="center", va="center", fontsize=10, weight="bold")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.set_title(f"{name}: utterances by t-SNE", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, markerscale=2.5, title="descent"
    )
    return figure


def draw_distances(
    ours: np.ndarray,
    references: Mapping[str, np.ndarray],
    found: Mapping[str, Correlation],
    languages: Sequence[str],
    group_of: Mapping[str, str],
    name: str,
) -> Figure:
    """Draws, for each pair of languages, the centroids' distance over that by URIEL+.

    Arguments
    ---------
    ours : np.ndarray
        (L, L) distances of centroids.
    references : mapping of str to np.ndarray
        Kind -> (L, L) distances by URIEL+, NaN where not known.
    found : mapping of str to Correlation
        Kind -> the correlation of both.
    languages : sequence of str
        Languages of rows and columns.
    group_of : mapping of str to str
        Language -> group; pairs inside a group have its colour.
    name : str
        Name of the system.
    """
    figure = Figure(figsize=(4.2 * len(references), 4.4), layout="constrained")
    panels = figure.subplots(1, len(references), squeeze=False, sharey=True)[0]
    i, j = np.triu_indices(len(languages), 1)
    groups = np.array([group_of[language] for language in languages])
    inside = groups[i] == groups[j]
    for axes, (kind, table) in zip(panels, references.items(), strict=True):
        x, y = table[i, j], ours[i, j]
        axes.scatter(x[~inside], y[~inside], s=10, c=GREY, linewidths=0, label="two branches")
        for group, (colour, (shape, _)) in styles(group_of).items():
            chosen = inside & (groups[i] == group)
            if chosen.any():
                axes.scatter(
                    *(x[chosen], y[chosen]), s=22, c=colour, marker=shape, linewidths=0, label=group
                )
        axes.set_xlabel(f"{kind} distance, URIEL+", fontsize=9)
        axes.set_title(f"Spearman {found[kind].value:.2f}, p {found[kind].p:.4f}", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"cosine distance of the centroids, {name}", fontsize=9)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure
