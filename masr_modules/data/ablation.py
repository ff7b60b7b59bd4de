"""Training sets that know less: labels hidden, columns permuted, labels left out.

Controls and learning curves are made of these. Validation and test sets stay as they are.
"""

import random
from collections.abc import Mapping, Sequence


def ablate(
    rows: dict[str, dict],
    hidden: Mapping[str, float],
    permuted: Sequence[str],
    left_out: Mapping[str, Sequence[str]],
    seed: int,
) -> dict[str, dict]:
    """Applies `leave_out`, then `hide_labels`, then `permute_columns`.

    Arguments
    ---------
    rows : dict
        ID -> row of the training set.
    hidden, permuted, left_out
        Of these three; empty ones change nothing.
    seed : int
        Of the draws.

    Example
    -------
    >>> rows = {"a": {"language": "fra"}, "b": {"language": "deu"}}
    >>> ablate(rows, {}, [], {"language": ["deu"]}, seed=1)
    {'a': {'language': 'fra'}}
    """
    rows = leave_out(rows, left_out)
    rows = hide_labels(rows, hidden, seed)
    return permute_columns(rows, permuted, seed)


def leave_out(rows: dict[str, dict], values: Mapping[str, Sequence[str]]) -> dict[str, dict]:
    """The rows without those that have one of the values of a column.

    Raises
    ------
    ValueError
        If no row has one of them, or none is left: names column and value.
    """
    for column, unwanted in values.items():
        there = {row.get(column) for row in rows.values()}
        for value in unwanted:
            if value not in there:
                raise ValueError(f"left_out: no training utterance has {column} {value!r}")
        rows = {i: row for i, row in rows.items() if row.get(column) not in set(unwanted)}
    if not rows:
        raise ValueError(f"left_out: {dict(values)} leaves no training utterance")
    return rows


def hide_labels(rows: dict[str, dict], shares: Mapping[str, float], seed: int) -> dict[str, dict]:
    """Empties a share of a column's known cells, the same share of each label.

    Each label keeps an utterance that says so. Which ones are hidden depends on seed, column
    and label alone; a larger share hides those of a smaller one and more.

    Raises
    ------
    ValueError
        If a share is not in [0, 1), or no row has the column.

    Example
    -------
    >>> rows = {str(i): {"language": "fra" if i % 2 else "deu"} for i in range(40)}
    >>> kept = hide_labels(rows, {"language": 0.9}, seed=1)
    >>> sorted(row["language"] for row in kept.values() if row["language"])
    ['deu', 'deu', 'fra', 'fra']
    """
    for column, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"hidden_labels: the share of {column!r} is {share}, not in [0, 1)")
        by_label: dict[str, list[str]] = {}
        for utterance, row in rows.items():
            if row.get(column):
                by_label.setdefault(row[column], []).append(utterance)
        if not by_label:
            raise ValueError(f"hidden_labels: no training utterance has a {column!r}")
        hidden = set()
        for label, utterances in by_label.items():
            random.Random(f"{seed}|{column}|{label}").shuffle(utterances)
            hidden.update(utterances[max(1, round((1 - share) * len(utterances))) :])
        rows = {i: {**row, column: ""} if i in hidden else row for i, row in rows.items()}
    return rows


def permute_columns(rows: dict[str, dict], columns: Sequence[str], seed: int) -> dict[str, dict]:
    """Deals the cells of these columns out anew, all of a row together.

    How often each value comes stays; that it belongs to the recording is lost.

    Example
    -------
    >>> rows = {str(i): {"language": "fra", "speaker": str(i)} for i in range(9)}
    >>> mixed = permute_columns(rows, ["speaker"], seed=1)
    >>> sum(mixed[i]["speaker"] == i for i in rows) < 4
    True
    """
    if not columns:
        return rows
    others = list(rows.values())
    random.Random(f"{seed}|{'|'.join(columns)}").shuffle(others)
    return {
        utterance: {**row, **{column: other[column] for column in columns}}
        for (utterance, row), other in zip(rows.items(), others, strict=True)
    }
