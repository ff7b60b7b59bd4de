"""Corrupted or smaller training sets, for controls and learning curves.

They have missing labels, label noise, permuted columns, labels left out, or a fraction of the rows.
"""

import random
from collections.abc import Mapping, Sequence


def corrupt(rows: Mapping[str, Mapping], settings: Mapping, seed: int) -> Mapping[str, Mapping]:
    """Applies `leave_out`, `add_label_noise`, `remove_labels` and `permute_columns`, in this order.

    Arguments
    ---------
    rows : mapping
        ID -> row of the training set.
    settings : mapping
        Settings of an experiment, of which `left_out`, `label_noise`, `missing_labels` and
        `permuted_columns` are the functions' arguments; a missing or empty one changes nothing.
    seed : int
        Seed of the draws.

    Returns
    -------
    mapping
        ID -> row; the rows given are not changed.

    Example
    -------
    >>> rows = {"a": {"language": "fra"}, "b": {"language": "deu"}}
    >>> corrupt(rows, {"left_out": {"language": ["deu"]}}, seed=1)
    {'a': {'language': 'fra'}}
    """
    rows = leave_out(rows, settings.get("left_out") or {})
    rows = add_label_noise(rows, settings.get("label_noise") or {}, seed)
    rows = remove_labels(rows, settings.get("missing_labels") or {}, seed)
    return permute_columns(rows, settings.get("permuted_columns") or [], seed)


def leave_out(
    rows: Mapping[str, Mapping], values: Mapping[str, Sequence[str]]
) -> Mapping[str, Mapping]:
    """Leaves out the rows that have an unwanted value in a column.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    values : mapping of str to sequence of str
        Column -> its unwanted values.

    Raises
    ------
    ValueError
        If no row has one of the values, or no row is left. The message names column and value.
    """
    for column, unwanted in values.items():
        there = {row.get(column) for row in rows.values()}
        for value in unwanted:
            if value not in there:
                raise ValueError(
                    f"left_out: no training utterance has {column} {value!r}; check its spelling"
                )
        rows = {i: row for i, row in rows.items() if row.get(column) not in set(unwanted)}
    if not rows:
        raise ValueError(f"left_out: {dict(values)} leaves no training utterance")
    return rows


def remove_labels(
    rows: Mapping[str, Mapping], shares: Mapping[str, float], seed: int
) -> Mapping[str, Mapping]:
    """Empties a fraction of a column's known cells, the same fraction of each label.

    Each label keeps at least one cell, unless the fraction is 1. The draw depends on seed, column,
    label and its utterances alone: a larger fraction empties all cells that a smaller one empties,
    and more.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    shares : mapping of str to float
        Column -> fraction of its cells.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        If a fraction is not in [0, 1], or no row has the column.

    Example
    -------
    >>> rows = {str(i): {"language": "fra" if i % 2 else "deu"} for i in range(40)}
    >>> kept = remove_labels(rows, {"language": 0.9}, seed=1)
    >>> sorted(row["language"] for row in kept.values() if row["language"])
    ['deu', 'deu', 'fra', 'fra']
    """
    for column, share in shares.items():
        missing: set[str] = set()
        for label, utterances in _by_label(rows, column, share, "missing_labels").items():
            random.Random(f"{seed}|{column}|{label}").shuffle(utterances)
            kept = max(1, round((1 - share) * len(utterances))) if share < 1 else 0
            missing.update(utterances[kept:])
        rows = {i: {**row, column: ""} if i in missing else row for i, row in rows.items()}
    return rows


def add_label_noise(
    rows: Mapping[str, Mapping], shares: Mapping[str, float], seed: int
) -> Mapping[str, Mapping]:
    """Replaces a fraction of each label's cells by another label, drawn uniformly.

    The draw depends on seed, column, the labels and their utterances alone: a larger fraction
    replaces all cells that a smaller one replaces, by the same labels, and more. Other columns
    keep their true values.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    shares : mapping of str to float
        Column -> fraction of its known cells.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        If a fraction is not in [0, 1), no row has the column, or it has a single label.

    Example
    -------
    >>> rows = {str(i): {"language": "fra" if i < 8 else "deu"} for i in range(12)}
    >>> noisy = add_label_noise(rows, {"language": 0.25}, seed=1)
    >>> [sum(noisy[i] != rows[i] for i in map(str, some)) for some in (range(8), range(8, 12))]
    [2, 1]
    """
    for column, share in shares.items():
        by_label = _by_label(rows, column, share, "label_noise")
        if share == 1:
            raise ValueError(f"label_noise: the fraction of {column!r} is 1, not in [0, 1)")
        if len(by_label) < 2:
            raise ValueError(f"label_noise: {column!r} has no other label than {[*by_label]}")
        wrong: dict[str, str] = {}
        for label, utterances in by_label.items():
            others = sorted(set(by_label) - {label})
            draw = random.Random(f"{seed}|{column}|{label}|wrong")
            draw.shuffle(utterances)
            count = round(share * len(utterances))
            wrong |= {i: draw.choice(others) for i in utterances[:count]}
        rows = {i: {**row, column: wrong[i]} if i in wrong else row for i, row in rows.items()}
    return rows


def _by_label(
    rows: Mapping[str, Mapping], column: str, share: float, key: str
) -> dict[str, list[str]]:
    """Returns label -> its utterances; errors name the YAML's key."""
    if not 0 <= share <= 1:
        raise ValueError(f"{key}: the fraction of {column!r} is {share}, not in [0, 1]")
    by_label: dict[str, list[str]] = {}
    for utterance, row in rows.items():
        if row.get(column):
            by_label.setdefault(row[column], []).append(utterance)
    if not by_label:
        raise ValueError(f"{key}: no training utterance has a {column!r}")
    return by_label


def keep_share(
    rows: Mapping[str, Mapping], share: float, columns: Sequence[str], seed: int
) -> Mapping[str, Mapping]:
    """Keeps a fraction of the rows, the same fraction of each label of the first column.

    Each label of every column keeps at least one row. A larger fraction keeps all rows
    that a smaller one keeps, and more; this does not hold for rows that are kept only because a
    label of another column would otherwise have none.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    share : float
        The fraction, in (0, 1].
    columns : sequence of str
        Label columns.
    seed : int
        Seed of the draw.

    Raises
    ------
    ValueError
        If the fraction is not in (0, 1].

    Example
    -------
    >>> rows = {str(i): {"language": "fra" if i < 30 else "deu"} for i in range(40)}
    >>> kept = keep_share(rows, 0.1, ["language"], seed=1)
    >>> [row["language"] for row in kept.values()]
    ['fra', 'fra', 'fra', 'deu']
    """
    if not 0 < share <= 1:
        raise ValueError(f"labelled_share: {share} is not in (0, 1]")
    if share == 1:
        return rows
    order = list(rows)
    random.Random(f"{seed}|labelled_share").shuffle(order)
    kept: set[str] = set()
    for place, column in enumerate(columns):
        by_label: dict[str, list[str]] = {}
        for utterance in order:
            by_label.setdefault(rows[utterance].get(column) or "", []).append(utterance)
        for label, utterances in by_label.items():
            if place == 0:
                kept.update(utterances[: max(1, round(share * len(utterances)))])
            elif label and kept.isdisjoint(utterances):
                kept.add(utterances[0])
    return {utterance: row for utterance, row in rows.items() if utterance in kept}


def permute_columns(
    rows: Mapping[str, Mapping], columns: Sequence[str], seed: int
) -> Mapping[str, Mapping]:
    """Permutes these columns among the rows; the cells of a row stay together.

    The counts of the values stay, but their relation to the recordings is lost.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    columns : sequence of str
        Columns to permute.
    seed : int
        Seed of the permutation.

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
