"""A held-out fraction of each training speaker's utterances."""

import logging
import random
from collections import Counter, defaultdict

logger = logging.getLogger(__name__)


def hold_out(
    rows: dict[str, dict], label: str, by: str, share: float, seed: int
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Splits off, at random, a fraction of each label's utterances; logs how many.

    Utterances with the same cell in column `by`, such as a sentence or a video, stay in one
    split, whoever speaks. Every label keeps an utterance in training; a label with a single
    utterance thus has none held out.

    Arguments
    ---------
    rows : dict
        ID -> row, each with a label.
    label : str
        Column of the label, such as speaker.
    by : str
        Column whose values may not be in both splits; an empty cell is shared with no utterance.
    share : float
        Largest fraction of a label's utterances that is held out, in (0, 1); of two or more
        utterances, one may always be held out.
    seed : int
        Seed of the choice.

    Returns
    -------
    kept, held_out : dict
        ID -> row, in the order of `rows`.

    Raises
    ------
    ValueError
        If `share` is out of range, or no row has a cell in column `by`.

    Example
    -------
    >>> rows = {
    ...     f"{speaker}{i}": {"speaker": speaker, "text": f"sentence {i}"}
    ...     for speaker in "ab"
    ...     for i in range(4)
    ... }
    >>> rows["c"] = {"speaker": "c", "text": "alone"}
    >>> kept, held_out = hold_out(rows, "speaker", "text", 0.25, seed=0)
    >>> list(held_out)
    ['a2', 'b2']
    """
    if not 0 < share < 1:
        raise ValueError(f"held_out_share ({share}) has to be above 0 and below 1")
    if not any(row.get(by) for row in rows.values()):
        raise ValueError(
            f"held_out_by: no training utterance has a {by!r}: name a column that has values"
        )
    room = {
        name: min(max(1, int(share * count)), count - 1)
        for name, count in Counter(row[label] for row in rows.values()).items()
    }
    groups = defaultdict(list)
    for utterance, row in rows.items():
        groups[row.get(by) or (utterance,)].append(utterance)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    chosen = set()
    for group in order:
        wanted = Counter(rows[utterance][label] for utterance in group)
        if all(count <= room[name] for name, count in wanted.items()):
            chosen.update(group)
            for name, count in wanted.items():
                room[name] -= count
    kept = {utterance: row for utterance, row in rows.items() if utterance not in chosen}
    held_out = {utterance: row for utterance, row in rows.items() if utterance in chosen}
    of = len({row[label] for row in held_out.values()})
    logger.info(
        f"train: {len(held_out)} of {len(rows)} utterances, of {of} of {len(room)} {label}s, are "
        f"held out for identification; they share no {by} with the others"
    )
    return kept, held_out


def utterances_per_label(rows: dict[str, dict], label: str, size: int) -> dict[str, dict]:
    """Keeps the first `size` utterances of each label.

    Example
    -------
    >>> rows = {"a1": {"speaker": "a"}, "a2": {"speaker": "a"}, "b1": {"speaker": "b"}}
    >>> list(utterances_per_label(rows, "speaker", 1))
    ['a1', 'b1']
    """
    taken = Counter()
    kept = {}
    for utterance, row in rows.items():
        if taken[row[label]] < size:
            taken[row[label]] += 1
            kept[utterance] = row
    return kept
