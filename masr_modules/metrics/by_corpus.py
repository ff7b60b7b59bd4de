"""Metrics of a pool of corpora: each corpus is evaluated by itself, on the labels that it has.

In a pool, the recording channel of a corpus alone may reveal a language, an emotion or a speaker.
Within a corpus the channel is the same for all, or nearly so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.probes import Evaluation, best_layer, evaluate, macro

#: Label on which a corpus can be evaluated -> its metrics.
METRICS = {
    "language": ("knn", "linear", "family", "within_family"),
    "speaker": ("speaker_eer", "speaker_eer_within"),
    "gender": ("gender",),
    "age": ("age",),
    "emotion": ("emotion", "emotion_unheard"),
}
#: Labels that both utterances of a hard trial share; a label that a corpus does not give is left
#: out.
WITHIN = ("label", "gender")
#: A gender or age group with fewer speakers, in the references or the test set, is not a class: a
#: macro accuracy would depend on one or two people.
LEAST_SPEAKERS = 10

Splits = tuple[LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings]


def check_questions(questions: Mapping[str, Sequence[str]], corpora: Sequence[str]) -> None:
    """Raises a ValueError if `questions` names an unknown label, or a corpus that is not there.

    Arguments
    ---------
    questions : mapping of str to sequence of str
        Label, a key of METRICS -> the corpora that are evaluated on it.
    corpora : sequence of str
        The corpora that are there.

    Example
    -------
    >>> check_questions({"speaker": ["nemo"]}, ["nemo"])
    """
    for label, asked in questions.items():
        if label not in METRICS:
            raise ValueError(f"questions: {label!r} is not one of {', '.join(METRICS)}")
        if missing := sorted({*asked} - {*corpora}):
            raise ValueError(
                f"questions, {label}: no utterance's corpus is {', '.join(missing)}; there are "
                f"{', '.join(sorted(corpora))}"
            )


def evaluate_corpora(
    references: LabelledEmbeddings,
    valid: LabelledEmbeddings,
    test: LabelledEmbeddings,
    questions: Mapping[str, Sequence[str]],
) -> Evaluation:
    """Computes every metric as the mean over the corpora that are evaluated on it.

    Corpora are told apart by the label `corpus`. Each corpus has its own probes, and its own
    layer, which is chosen on its validation set.

    Arguments
    ---------
    references, valid, test : LabelledEmbeddings
        The embeddings of all corpora by all layers; see `evaluate`.
    questions : mapping of str to sequence of str
        Label, a key of METRICS -> the corpora that are evaluated on it.

    Returns
    -------
    Evaluation
        `correct` is over all test utterances, NaN where a corpus was not evaluated; for the
        speaker EERs it holds the mean EER without each speaker in turn. `layers` lists the layers
        of the corpora, in the order of `questions`. Beside the mean of each metric,
        `METRIC.CORPUS` is the metric of one corpus.

    Raises
    ------
    ValueError
        If `questions` names an unknown label, or a corpus that is not there.
    """
    check_questions(questions, np.unique(test["corpus"]).tolist())
    splits = _without_rare(references, valid, test)
    found: dict[str, Evaluation] = {}
    for corpus in dict.fromkeys(name for asked in questions.values() for name in asked):
        asked = [label for label, corpora in questions.items() if corpus in corpora]
        learnt, checked, tested = (_of_corpus(split, corpus, asked) for split in splits)
        found[corpus] = evaluate(
            learnt,
            checked,
            tested,
            within=[name for name in WITHIN if (tested[name] != "").any()] * ("speaker" in asked),
            columns=[label for label in ("gender", "age", "emotion") if label in asked],
        )
    joint = Evaluation({}, {}, {})
    for label, corpora in questions.items():
        for metric in METRICS[label]:
            if metric == "emotion_unheard":
                parts = {corpus: _unheard(splits, corpus, corpora) for corpus in corpora}
            else:
                parts = {corpus: found[corpus] for corpus in corpora}
            _join(joint, metric, parts, test)
    return joint


def _of_corpus(split: LabelledEmbeddings, corpus: str, asked: Sequence[str]) -> LabelledEmbeddings:
    """Selects one corpus, without the labels on which it is not evaluated.

    If it is evaluated on speakers, the language stays too, as does the gender always: trials
    within them need these labels.
    """
    part = split.some(split["corpus"] == corpus)
    empty = np.full(len(part["label"]), "")
    hidden = {name: empty for name in ("speaker", "emotion") if name not in asked}
    if not {"language", "speaker"} & {*asked}:
        hidden["label"] = empty
    return LabelledEmbeddings(part.layers, part.labels | hidden)


def _without_rare(*splits: LabelledEmbeddings) -> Splits:
    """Marks genders and age groups of few speakers, in `references` or `test`, as not known."""
    references, valid, test = splits
    hidden: tuple[dict[str, np.ndarray], ...] = ({}, {}, {})
    for label in ("gender", "age"):
        counted = [_speakers(split, label) for split in (references, test)]
        few = {
            key
            for counts in counted
            for key in counted[0].keys() | counted[1].keys()
            if counts.get(key, 0) < LEAST_SPEAKERS
        }
        for split, columns in zip(splits, hidden, strict=True):
            keys = zip(split["corpus"].tolist(), split[label].tolist(), strict=True)
            rare = np.array([key in few for key in keys], dtype=bool)
            columns[label] = np.where(rare, "", split[label])
    learnt, checked, tested = (
        LabelledEmbeddings(split.layers, split.labels | columns)
        for split, columns in zip((references, valid, test), hidden, strict=True)
    )
    return learnt, checked, tested


def _speakers(split: LabelledEmbeddings, label: str) -> Counter[tuple[str, str]]:
    """Counts the speakers of each corpus and value of a label."""
    columns = (split[name].tolist() for name in ("corpus", label, "speaker"))
    return Counter((corpus, value) for corpus, value, _ in {*zip(*columns, strict=True)})


def _join(
    joint: Evaluation, metric: str, parts: Mapping[str, Evaluation], test: LabelledEmbeddings
) -> None:
    """Adds the mean of a metric over corpora to `joint`."""
    for prefix in ("valid_", ""):
        values = {c: part.metrics.get(prefix + metric) for c, part in parts.items()}
        known = {c: value for c, value in values.items() if value is not None and value == value}
        if values and any(value is not None for value in values.values()):
            joint.metrics[prefix + metric] = float(np.mean([*known.values()])) if known else np.nan
        if not prefix and len(known) > 1:
            joint.metrics |= {f"{metric}.{corpus}": value for corpus, value in known.items()}
    told = {corpus: part for corpus, part in parts.items() if metric in part.correct}
    if not told:
        return
    joint.layers[metric] = " ".join(str(part.layers[metric]) for part in told.values())
    if metric.startswith("speaker_eer"):
        whole = joint.metrics[metric]
        changes = [part.correct[metric] - part.metrics[metric] for part in told.values()]
        joint.correct[metric] = whole + np.concatenate(changes) / len(told)
        return
    joint.correct[metric] = np.full(len(test["label"]), np.nan)
    for corpus, part in told.items():
        joint.correct[metric][test["corpus"] == corpus] = part.correct[metric]


def _unheard(splits: Splits, corpus: str, corpora: Sequence[str]) -> Evaluation:
    """Evaluates a probe that learnt from the other corpora on the emotions of a corpus.

    Only emotions that both have count. Each corpus is standardised by itself, because its channel
    is another one; the evaluated corpus is standardised by its test utterances, without labels.
    """
    references, valid, test = (split.known("emotion") for split in splits)
    others = [name for name in corpora if name != corpus]
    heard = [_standardised(references, name, references) for name in others]
    checked = [_standardised(valid, name, references) for name in others]
    asked = _standardised(test, corpus, test)
    common = {*asked["emotion"]} & {emotion for part in heard for emotion in part["emotion"]}
    parts = [reduce(_both, heard), reduce(_both, checked), asked] if others else []
    parts = [part.some(np.isin(part["emotion"], [*common])) for part in parts]
    whole = np.full((splits[2]["corpus"] == corpus).sum(), np.nan)
    if len(common) < 2 or not all(len(part["label"]) for part in parts):
        return Evaluation({"emotion_unheard": np.nan}, {}, {})
    score, layer, predicted = best_layer("emotion", *parts)
    right = (predicted == parts[2]["emotion"]).astype(float)
    emotions = splits[2]["emotion"][splits[2]["corpus"] == corpus]
    whole[np.isin(emotions, [*common])] = right
    metrics = {
        "valid_emotion_unheard": score,
        "emotion_unheard": macro(parts[2]["emotion"], right),
    }
    return Evaluation(metrics, {"emotion_unheard": layer}, {"emotion_unheard": whole})


def _standardised(
    split: LabelledEmbeddings, corpus: str, by: LabelledEmbeddings
) -> LabelledEmbeddings:
    part, of = split.some(split["corpus"] == corpus), by.layers[:, by["corpus"] == corpus]
    spread = np.maximum(of.std(axis=1, keepdims=True), 1e-6)
    return LabelledEmbeddings((part.layers - of.mean(axis=1, keepdims=True)) / spread, part.labels)


def _both(first: LabelledEmbeddings, second: LabelledEmbeddings) -> LabelledEmbeddings:
    labels = {name: np.concatenate([x, second[name]]) for name, x in first.labels.items()}
    return LabelledEmbeddings(np.concatenate([first.layers, second.layers], axis=1), labels)
