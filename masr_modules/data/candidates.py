"""Labels that other columns of the same row contradict."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)


def drop_contradicted(
    rows: dict[str, dict], checks: Mapping[str, Sequence[str]]
) -> dict[str, dict]:
    """Empties the cells that another column speaks against, and says how many they are.

    A label and a value speak against each other where the value comes less often with the label
    than it comes in all: P(value | label) < P(value). Of labels that are wrong at random, up to
    half of them, this finds those whose value is not one of the new label's own, and no right one;
    where none is wrong and each label has one value, nothing changes. A rare but true combination,
    such as English from India, is taken for an error: name columns of which a label has few values.

    O(N) for each pair of columns. A label of which nothing would be left stays as it is.

    Arguments
    ---------
    rows : dict
        ID -> row.
    checks : mapping of str to sequence of str
        Label column -> columns that are known from elsewhere. An empty cell says nothing.

    Raises
    ------
    ValueError
        If no row has one of the columns, or a column is to check itself.

    Example
    -------
    >>> rows = {str(i): {"language": "fra", "region": "FR"} for i in range(4)}
    >>> rows |= {str(i): {"language": "deu", "region": "DE"} for i in range(4, 8)}
    >>> rows["8"] = {"language": "deu", "region": "FR"}
    >>> drop_contradicted(rows, {"language": ["region"]})["8"]
    {'language': '', 'region': 'FR'}
    """
    for column, others in checks.items():
        doubted = set().union(*(_contradicted(rows, column, other) for other in others))
        known = {i for i, row in rows.items() if row.get(column)}
        left = {rows[i][column] for i in known - doubted}
        doubted = {i for i in doubted if rows[i][column] in left}
        logger.info(
            f"checked_labels: {', '.join(others)} contradict {len(doubted)} of {len(known)} "
            f"cells of '{column}', which count as not known"
        )
        rows = {i: {**row, column: ""} if i in doubted else row for i, row in rows.items()}
    return rows


def _contradicted(rows: dict[str, dict], column: str, other: str) -> set[str]:
    """IDs of the rows whose two cells come together less often than by chance."""
    if column == other:
        raise ValueError(f"checked_labels: {column!r} cannot check itself")
    pairs = {
        i: (row[column], row[other])
        for i, row in rows.items()
        if row.get(column) and row.get(other)
    }
    if not pairs:
        raise ValueError(
            f"checked_labels: no training utterance has both a {column!r} and a {other!r}"
        )
    both = Counter(pairs.values())
    labels, values = (Counter(cells) for cells in zip(*pairs.values(), strict=True))
    against = {
        pair
        for pair, count in both.items()
        if count * len(pairs) < labels[pair[0]] * values[pair[1]]
    }
    return {i for i, pair in pairs.items() if pair in against}
