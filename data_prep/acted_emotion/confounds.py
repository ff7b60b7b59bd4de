"""What tells the emotion of a corpus's utterances beside the voice: a result has to know it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

#: From which fraction on it is said.
MUCH = 0.5

#: Fraction of files of one length that no corpus has which is not cut, and of how many at least.
CUT, FEWEST = 0.9, 20


def find_confounds(rows: Sequence[Mapping]) -> list[str]:
    """Sentences on what is wrong with a corpus, for whoever reports a figure on it.

    Arguments
    ---------
    rows : sequence of mapping
        Rows of the CSVs: `speaker`, `emotion`, `sentence_id`, `text`, `duration`.

    Returns
    -------
    list of str
        One for each trap that is found.

    Example
    -------
    >>> rows = [{"speaker": s, "emotion": e, "duration": 1.5} for s, e in ("af", "bn", "cn")]
    >>> find_confounds(rows)
    ['3 of 3 speakers act one emotion only: who speaks tells the emotion']
    """
    acted = [row for row in rows if row.get("emotion")]
    found = []
    single, speakers = _count_single((row.get("speaker"), row["emotion"]) for row in acted)
    if speakers and len(single) > MUCH * speakers:
        found.append(
            f"{len(single)} of {speakers} speakers act one emotion only: who speaks tells the "
            "emotion"
        )
    words = [(row.get("text") or row.get("sentence_id"), row["emotion"]) for row in acted]
    single, _ = _count_single(words)
    told = sum(sentence in single for sentence, _ in words)
    if told > MUCH * len(words):
        found.append(
            f"{told} of {len(words)} utterances are of sentences that are said with one emotion "
            "only: the words tell the emotion"
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
    """What comes with one emotion only, and how many there are at all."""
    emotions: dict[str, set[str]] = defaultdict(set)
    for key, emotion in pairs:
        if key:
            emotions[key].add(emotion)
    return {key for key, some in emotions.items() if len(some) == 1}, len(emotions)
