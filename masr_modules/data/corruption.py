"""Sets that know less: missing labels, label noise, permuted columns, labels left out, a fraction.

Controls and learning curves are made of these. Validation and test sets stay as they are.
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
        An experiment's: `left_out`, `label_noise`, `missing_labels` and `permuted_columns` are
        the arguments of these; what is missing or empty changes nothing.
    seed : int
        Of the draws.

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


def remove_labels(
    rows: Mapping[str, Mapping], shares: Mapping[str, float], seed: int
) -> Mapping[str, Mapping]:
    """Empties a fraction of a column's known cells, the same fraction of each label.

    Each label keeps an utterance that says so, unless the fraction is 1. Which ones go missing
    depends on seed, column and label alone; a larger fraction has those of a smaller one and more.

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
    """Gives a fraction of a column's known cells another label, drawn from the others.

    The same fraction of each label. Which ones are wrong, and what they become, depends on seed,
    column and label alone; a larger fraction takes those of a smaller one and more. Other columns
    still tell what is true.

    Raises
    ------
    ValueError
        If a fraction is not in [0, 1), no row has the column, or it has one label.

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
    """Label -> its utterances; errors name the YAML's key."""
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
    """A fraction of the rows, the same of each label of the first column.

    Each label of any of the columns keeps a row that has it. A larger fraction has the rows of a
    smaller one and more.

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
