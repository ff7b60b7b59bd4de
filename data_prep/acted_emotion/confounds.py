"""Confounds of acted emotion: cues other than the voice that reveal an utterance's emotion."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

#: A confound of more than this fraction of the speakers or utterances is reported.
MUCH = 0.5

#: A corpus of at least `FEWEST` files counts as cut where this fraction of them has one length.
CUT, FEWEST = 0.9, 20


def find_confounds(rows: Sequence[Mapping]) -> list[str]:
    """Finds the confounds of a corpus, which a reported figure has to mention.

    Arguments
    ---------
    rows : sequence of mapping
        Rows of the CSVs: `speaker`, `emotion`, `sentence_id`, `text`, `duration` (seconds).

    Returns
    -------
    list of str
        A sentence for each confound that is found.

    Example
    -------
    >>> rows = [{"speaker": s, "emotion": e, "duration": 1.5} for s, e in ("af", "bn", "cn")]
    >>> find_confounds(rows)
    ['3 of 3 speakers act one emotion only: the speaker reveals the emotion']
    """
    acted = [row for row in rows if row.get("emotion")]
    found = []
    single, speakers = _count_single((row.get("speaker"), row["emotion"]) for row in acted)
    if speakers and len(single) > MUCH * speakers:
        found.append(
            f"{len(single)} of {speakers} speakers act one emotion only: the speaker reveals the "
            "emotion"
        )
    words = [(row.get("text") or row.get("sentence_id"), row["emotion"]) for row in acted]
    single, _ = _count_single(words)
    told = sum(sentence in single for sentence, _ in words)
    if told > MUCH * len(words):
        found.append(
            f"{told} of {len(words)} utterances are of sentences that are said with one emotion "
            "only: the words reveal the emotion"
        )
    lengths = Counter(round(float(row["duration"]), 3) for row in rows)
    for length, count in lengths.most_common(1):
        if len(rows) >= FEWEST and count >= CUT * len(rows):
            found.append(
                f"{count} of {len(rows)} files last {length:.2f} s: this copy is cut; get the "
                "corpus from its own site"
            )
    return found


def _count_single(pairs: Iterable[tuple[str | None, str]]) -> tuple[set[str], int]:
    """Returns the keys that occur with one emotion only, and the number of all keys."""
    emotions: dict[str, set[str]] = defaultdict(set)
    for key, emotion in pairs:
        if key:
            emotions[key].add(emotion)
    return {key for key, some in emotions.items() if len(some) == 1}, len(emotions)
