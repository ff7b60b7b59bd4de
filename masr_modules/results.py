"""Result tables: generated from what runs measured, never typed."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

#: Title, key of the figure, and whether it is a share to print in per cent.
PRETRAIN_COLUMNS = (
    ("layer", "layer", False),
    ("language kNN", "knn", True),
    ("language linear", "linear", True),
    ("family", "family", True),
    ("inside family", "within_family", True),
    ("speaker EER", "speaker_eer", True),
    ("valid SSL loss", "ssl_loss", False),
)


def write_atomic(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_results(folder: str | Path, results: dict) -> None:
    """Writes results.json, which marks a run as complete."""
    write_atomic(Path(folder) / "results.json", json.dumps(results, indent=1) + "\n")


def format_cell(values: Sequence[float], percent: bool) -> str:
    """Mean, and ± sample standard deviation where there are several values.

    Example
    -------
    >>> format_cell([0.25, 0.75], percent=True), format_cell([2.0], percent=False)
    ('50.0 ± 35.4', '2.00')
    """
    values = [value for value in values if value is not None and value == value]
    if not values:
        return ""
    scale, digits = (100, 1) if percent else (1, 2)
    mean = sum(values) / len(values)
    text = f"{scale * mean:.{digits}f}"
    if len(values) > 1:
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        text += f" ± {scale * variance**0.5:.{digits}f}"
    return text


def format_table(
    runs: dict[str, list[dict[str, float]]], columns=PRETRAIN_COLUMNS, title: str = "encoder"
) -> str:
    """A Markdown table, one row a system.

    Arguments
    ---------
    runs : dict[str, list[dict[str, float]]]
        System -> the figures of each seed.
    columns : sequence of (str, str, bool)
        Title, key, and whether the figure is printed in per cent.
    title : str
        Of the first column.

    Example
    -------
    >>> print(format_table({"a": [{"knn": 0.5}]}, [("kNN", "knn", True)]))
    | encoder | kNN (%) |
    | ------- | ------- |
    | a       | 50.0    |
    """
    header = [title] + [f"{name} (%)" if percent else name for name, _, percent in columns]
    body = [
        [system]
        + [format_cell([f.get(key) for f in figures], percent) for _, key, percent in columns]
        for system, figures in runs.items()
    ]
    widths = [max(map(len, cells)) for cells in zip(header, *body, strict=True)]
    lines = [header, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
