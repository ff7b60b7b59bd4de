"""Result tables, which are generated from the metrics of runs and never typed.

``python -m masr_modules.metrics.tables RUN/results.json ... --readme FILE --block NAME`` writes the
table of some runs between two marks of a Markdown file.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from masr_modules.config.files import write_atomic
from masr_modules.config.markdown import one_line

#: Kind of metric -> scale, decimals and unit with which it is printed.
KINDS = {
    "share": (100, 1, " (%)"),
    "loss": (1, 2, ""),
    "cost": (1, 3, ""),
    "layer": (1, 0, ""),
    "count": (1, 0, ""),
    "minutes": (1 / 60, 1, " (min)"),
}

#: Title, key and kind of each metric.
PRETRAIN_COLUMNS = (
    ("valid kNN", "valid_knn", "share"),
    ("language kNN", "knn", "share"),
    ("language linear", "linear", "share"),
    ("family", "family", "share"),
    ("within family", "within_family", "share"),
    ("speaker EER", "speaker_eer", "share"),
    ("gender", "gender", "share"),
    ("emotion", "emotion", "share"),
    ("valid SSL loss", "ssl_loss", "loss"),
)
#: Title, key and kind of each metric of a pool of corpora, each of which is evaluated by itself.
CORPORA_COLUMNS = (
    ("language linear", "linear", "share"),
    ("language kNN", "knn", "share"),
    ("within family", "within_family", "share"),
    ("speaker EER", "speaker_eer", "share"),
    ("speaker EER, same language and gender", "speaker_eer_within", "share"),
    ("gender", "gender", "share"),
    ("age", "age", "share"),
    ("emotion", "emotion", "share"),
    ("emotion, unheard corpus", "emotion_unheard", "share"),
    ("valid SSL loss", "ssl_loss", "loss"),
)


def pretrain_columns(label: str) -> list[tuple[str, str, str]]:
    """Returns the columns of a pretraining's table whose neighbours and probes predict `label`.

    Example
    -------
    >>> [title for title, _, _ in pretrain_columns("emotion")][1:3]
    ['emotion kNN', 'emotion linear']
    """
    return [(title.replace("language", label), key, kind) for title, key, kind in PRETRAIN_COLUMNS]


def replace_block(path: str | Path, name: str, text: str) -> None:
    """Replaces the text between `<!-- name -->` and `<!-- /name -->` of a Markdown file.

    Raises
    ------
    ValueError
        If the file lacks the two marks.

    Example
    -------
    >>> path = getfixture("tmp_path") / "README.md"
    >>> _ = path.write_text("a\\n<!-- t -->\\nold\\n<!-- /t -->\\nb\\n")
    >>> replace_block(path, "t", "new")
    >>> path.read_text()
    'a\\n<!-- t -->\\nnew\\n<!-- /t -->\\nb\\n'
    """
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    whole = Path(path).read_text(encoding="utf-8")
    if start not in whole or end not in whole.split(start, 1)[1]:
        raise ValueError(f"{path}: no block between {start.strip()} and {end}: add the two marks")
    before, rest = whole.split(start, 1)
    write_atomic(path, before + start + text.rstrip("\n") + "\n" + end + rest.split(end, 1)[1])


def write_results(folder: str | Path, results: dict) -> None:
    """Writes results.json, which marks a run as complete."""
    write_atomic(Path(folder) / "results.json", json.dumps(results, indent=1) + "\n")


def join_results(paths: Sequence[str | Path]) -> dict[str, list[dict[str, float]]]:
    """Joins the metrics of several runs for format_table.

    Trained systems come first, then the rows that every run has. If runs agree on such a row, it
    counts once.

    Arguments
    ---------
    paths : sequence of str or Path
        The runs' results.json.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_results(folder / "a", {"MASR": {"ssl_loss": 4.0}, "chance": {"knn": 0.1}})
    >>> write_results(folder / "b", {"SSL only": {"ssl_loss": 3.0}, "chance": {"knn": 0.1}})
    >>> join_results([folder / "a/results.json", folder / "b/results.json"])
    {'MASR': [{'ssl_loss': 4.0}], 'SSL only': [{'ssl_loss': 3.0}], 'chance': [{'knn': 0.1}]}
    """
    trained: dict[str, list[dict[str, float]]] = {}
    beside: dict[str, list[dict[str, float]]] = {}
    for path in paths:
        for system, metrics in json.loads(Path(path).read_text(encoding="utf-8")).items():
            runs = trained if "ssl_loss" in metrics else beside
            if runs is trained or metrics not in runs.get(system, []):
                runs.setdefault(system, []).append(metrics)
    return trained | beside


def format_cell(values: Sequence[float | None], kind: str) -> str:
    """Formats the mean of values, and ± their sample standard deviation; leaves out None and NaN.

    Values that are all the same have no standard deviation, because they do not depend on the seed.

    Example
    -------
    >>> format_cell([0.25, 0.75], "share"), format_cell([2.0], "loss"), format_cell([1, 1], "loss")
    ('50.0 ± 35.4', '2.00', '1.00')
    """
    known = [value for value in values if value is not None and value == value]
    if not known:
        return ""
    scale, digits, _ = KINDS[kind]
    mean = sum(known) / len(known)
    text = f"{scale * mean:.{digits}f}"
    if min(known) < max(known):
        variance = sum((value - mean) ** 2 for value in known) / (len(known) - 1)
        text += f" ± {scale * variance**0.5:.{digits}f}"
    return text


def format_number(value: float, digits: int = 3) -> str:
    """Formats a number, or a dash for NaN.

    Arguments
    ---------
    value : float
        The number; NaN if it is not known.
    digits : int
        Number of decimals.

    Example
    -------
    >>> format_number(0.25), format_number(float("nan"))
    ('0.250', '-')
    """
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def column_title(column: tuple[str, str, str]) -> str:
    """Returns the title of a column with its unit."""
    title, _, kind = column
    return title + KINDS[kind][2]


def format_table(
    runs: dict[str, list[dict[str, float]]],
    columns: Sequence[tuple[str, str, str]] = PRETRAIN_COLUMNS,
    title: str = "encoder",
) -> str:
    """Makes a Markdown table with one row for each system.

    Arguments
    ---------
    runs : dict[str, list[dict[str, float]]]
        System -> the metrics of each seed.
    columns : sequence of (str, str, str)
        Title, key and kind of each metric.
    title : str
        Title of the first column.

    Example
    -------
    >>> print(format_table({"a": [{"knn": 0.5}]}, [("kNN", "knn", "share")]))
    | encoder | kNN (%) |
    | ------- | ------- |
    | a       | 50.0    |
    """
    header = [title, *map(column_title, columns)]
    body = [
        [system] + [format_cell([f.get(key) for f in metrics], kind) for _, key, kind in columns]
        for system, metrics in runs.items()
    ]
    return align(header, body)


def align(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Makes a Markdown table whose columns also line up as plain text; escapes marks in cells.

    Example
    -------
    >>> print(align(["a", "b"], [["long", "1"]]))
    | a    | b |
    | ---- | - |
    | long | 1 |
    """
    header, body = [*map(one_line, header)], [[*map(one_line, line)] for line in body]
    widths = [max(map(len, cells)) for cells in zip(header, *body, strict=True)]
    lines = [header, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def main() -> None:
    """Prints the table of some runs, and replaces it in a file."""
    parser = argparse.ArgumentParser(
        description="Prints one table of several pretraining runs, and writes it into a file."
    )
    parser.add_argument("results", nargs="+", help="results.json of each run")
    parser.add_argument(
        "--readme", help="Markdown file with the marks <!-- BLOCK --> and <!-- /BLOCK -->"
    )
    parser.add_argument(
        "--block", default="pretrain-results", help="name of the block (default: %(default)s)"
    )
    arguments = parser.parse_args()
    table = format_table(join_results(arguments.results))
    print(table)
    if arguments.readme:
        replace_block(arguments.readme, arguments.block, table)


if __name__ == "__main__":
    main()
