"""Pictures of the similarities of languages or other labels, and of a batch's utterances."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from masr_modules.config.extras import extra
from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import KnowledgeSource
from masr_modules.knowledge.descent import descent, display_name, order_by_descent
from masr_modules.knowledge.geographic import Geographic
from masr_modules.knowledge.language import LanguageDistance
from masr_modules.metrics.plots import mark_groups, save_figure
from masr_modules.pairwise.similarity import combine, graded_sources

with extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More rows than this could not be read: only the most frequent labels are shown.
_MOST_LABELS = 150


def save_heat_map(
    sources: Sequence[KnowledgeSource], column: str, metadata: Metadata, path: str | Path
) -> bool:
    """Draws the similarities of a column's labels, by the sources that read it.

    Languages are ordered by descent, so that related ones stand together; other labels are
    ordered by name. Categorical is left out, because it gives any two labels the same similarity.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        All sources of the experiment.
    column : str
        A label column.
    metadata : Metadata
        The corpus's metadata; labels that do not occur are left out.
    path : str or Path
        The PNG to write.

    Returns
    -------
    bool
        Whether a picture was written: none is if no source grades the labels or there are none.
    """
    graded = graded_sources(sources, column)
    codes, counts = torch.unique(metadata[column][metadata[column] >= 0], return_counts=True)
    codes = codes[counts.argsort(descending=True, stable=True)[:_MOST_LABELS]].tolist()
    if not graded or not codes:
        return False
    vocabulary = metadata.vocabularies[column]
    languages = any(
        isinstance(s, LanguageDistance) or (isinstance(s, Geographic) and s.kind == "language")
        for s in graded
    )
    place = {vocabulary[code]: code for code in codes}
    labels = order_by_descent(list(place)) if languages else sorted(place)
    order = torch.tensor([place[label] for label in labels])
    similarity = combine(graded, Metadata({column: order}, {column: vocabulary}), column)
    table = np.where(similarity.valid, similarity.values, np.nan)
    by = ", ".join(type(source).__name__ for source in graded)
    texts = [display_name(label) if languages else label for label in labels]
    families = ["".join(descent(label)[:1]) if languages else "" for label in labels]
    title = f"Similarity S of each {column} to each other, by {by}"
    figure = _figure(table, texts, families, title)
    save_figure(figure, path)
    return True


def batch_heat_map(
    sources: Sequence[KnowledgeSource], column: str, metadata: Metadata
) -> Figure | None:
    """Draws the similarities of a batch's utterances, ordered by label.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The sources; those whose columns the metadata have are combined.
    column : str
        The label column by which utterances are ordered; it does not change S.
    metadata : Metadata
        The batch's metadata.

    Returns
    -------
    Figure or None
        The picture; None if no source reads a column of the metadata.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> batch = Metadata.from_columns({"language": ["fra", "deu", "fra"], "gender": ["female"] * 3})
    >>> figure = batch_heat_map([Categorical("gender")], "language", batch)
    >>> figure.axes[0].images[0].get_array().shape
    (3, 3)
    """
    read = [source for source in sources if source.column in metadata.columns]
    if not read:
        return None
    metadata = metadata.select(metadata[column].argsort(stable=True))
    similarity = combine(read, metadata, column)
    table = np.where(similarity.valid, similarity.values, np.nan)
    labels = ["", *metadata.vocabularies[column]]
    groups = [labels[code + 1] for code in metadata[column].tolist()]
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    axes = figure.add_subplot()
    _image(figure, axes, table)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"Similarity S of a batch's utterances, by {column}", fontsize=10)
    mark_groups(axes, groups)
    return figure


def _figure(table: np.ndarray, texts: Sequence[str], groups: Sequence[str], title: str) -> Figure:
    side = 0.19 * len(texts)  # inches: each row has room for a line of text
    figure = Figure(figsize=(side + 5.0, side + 2.0), layout="constrained")
    axes = figure.add_subplot()
    _image(figure, axes, table)
    ticks = range(len(texts))
    axes.set_yticks(ticks, texts, fontsize=8)
    axes.set_xticks(ticks, texts, fontsize=8, rotation=90)
    axes.set_title(title, fontsize=10)
    mark_groups(axes, groups)
    return figure


def _image(figure: Figure, axes: Axes, table: np.ndarray) -> None:
    image = axes.imshow(np.ma.masked_invalid(table), vmin=0.0, vmax=1.0, cmap="viridis")
    axes.set_facecolor("lightgrey")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("S (grey: not known)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
