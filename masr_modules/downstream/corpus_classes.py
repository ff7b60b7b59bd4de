"""Classes of a pool of corpora: which of them are evaluated, and the metrics of each corpus.

In a pool, a corpus with many utterances would dominate a metric, and the recording channel would
reveal the corpus. Each corpus is therefore scored by itself, and all corpora have equal weight.
"""

import logging
from collections import Counter

import numpy as np

from masr_modules.metrics.classification import accuracy, macro_accuracy
from masr_modules.metrics.predictions import Predictions

logger = logging.getLogger(__name__)

#: Split -> ID -> row.
Splits = dict[str, dict[str, dict]]


def drop_unvalidated(splits: Splits, column: str) -> Splits:
    """Leaves out, and counts, training utterances of classes that validation does not have.

    A class with too few speakers for three splits has no test utterances; as a class it could only
    attract utterances of others.

    Arguments
    ---------
    splits : dict
        Split -> ID -> row of train, valid and test.
    column : str
        Column of the label.

    Raises
    ------
    ValueError
        If nothing is left to train on.

    Example
    -------
    >>> rows = {"a": {"language": "fra"}, "b": {"language": "vot"}}
    >>> left = drop_unvalidated({"train": rows, "valid": {"c": {"language": "fra"}}}, "language")
    >>> left["train"]
    {'a': {'language': 'fra'}}
    """
    validated = {row[column] for row in splits["valid"].values()}
    labels = (row[column] for row in splits["train"].values())
    dropped = Counter(label for label in labels if label not in validated)
    if dropped:
        told = ", ".join(f"{label} {count}" for label, count in sorted(dropped.items()))
        logger.warning(
            f"train: utterances of classes that no validation utterance has are left out: {told}"
        )
    train = {key: row for key, row in splits["train"].items() if row[column] in validated}
    if not train:
        raise ValueError(
            f"drop_unvalidated: no training utterance has a {column} of the validation set: check "
            "that train_csv and valid_csv were written together"
        )
    return splits | {"train": train}


def leave_corpus_out(splits: Splits, unheard: str, column: str) -> Splits:
    """Keeps one corpus in test and the others in train and valid, with labels that both have.

    Arguments
    ---------
    splits : dict
        Split -> ID -> row of train, valid and test, with `corpus`.
    unheard : str
        The corpus to test on.
    column : str
        Column of the label.

    Raises
    ------
    ValueError
        If the corpus is not there, or a split would be empty.

    Example
    -------
    >>> rows = {
    ...     "a": {"corpus": "nemo", "emotion": "anger"},
    ...     "b": {"corpus": "ravdess", "emotion": "anger"},
    ...     "c": {"corpus": "ravdess", "emotion": "calm"},
    ... }
    >>> left = leave_corpus_out({"train": rows, "valid": rows, "test": rows}, "nemo", "emotion")
    >>> {split: list(rows) for split, rows in left.items()}
    {'train': ['b'], 'valid': ['b'], 'test': ['a']}
    """
    corpora = sorted({row.get("corpus", "") for rows in splits.values() for row in rows.values()})
    if unheard not in corpora:
        raise ValueError(f"unheard_corpus: {unheard!r} is not one of {', '.join(corpora)}")
    rows = [row for split in splits.values() for row in split.values()]
    asked, heard = (
        {row[column] for row in rows if (row.get("corpus") == unheard) is there}
        for there in (True, False)
    )
    left = {
        split: {
            key: row
            for key, row in some.items()
            if (row.get("corpus") == unheard) == (split == "test") and row[column] in asked & heard
        }
        for split, some in splits.items()
    }
    for split, some in left.items():
        if not some:
            raise ValueError(
                f"unheard_corpus: {unheard} leaves {split} empty: check which {column} it has in "
                f"common with the other corpora of {', '.join(corpora)}"
            )
    logger.info(f"the test is on {unheard}, with {column} {', '.join(sorted(asked & heard))}")
    return left


class CorpusClasses:
    """The corpora of utterances, and the labels that each corpus has in training.

    Arguments
    ---------
    splits : dict
        Split -> ID -> row, with `corpus` if there are several corpora.
    column : str
        Column of the label.
    """

    def __init__(self, splits: Splits, column: str):
        self.corpus_of = {
            key: row.get("corpus") or "" for some in splits.values() for key, row in some.items()
        }
        self.labels_of: dict[str, set[str]] = {}
        for row in splits["train"].values():
            self.labels_of.setdefault(row.get("corpus") or "", set()).add(row[column])

    def parts(self, predictions: Predictions) -> dict[str, Predictions]:
        """Splits predictions by corpus, each with the classes that the corpus has in training.

        A corpus without training utterances keeps all classes.

        Arguments
        ---------
        predictions : Predictions
            Predictions for utterances of the splits.

        Returns
        -------
        dict[str, Predictions]
            Corpus -> its predictions.

        Example
        -------
        >>> splits = {
        ...     "train": {
        ...         "a": {"corpus": "nemo", "emotion": "anger"},
        ...         "b": {"corpus": "ravdess", "emotion": "calm"},
        ...     },
        ...     "test": {"c": {"corpus": "nemo", "emotion": "anger"}},
        ... }
        >>> classes = CorpusClasses(splits, "emotion")
        >>> said = Predictions.of(["c"], ["anger", "calm"], np.log([[0.2, 0.8]]), ["anger"])
        >>> classes.parts(said)["nemo"].predicted_labels.tolist()
        ['anger']
        """
        corpora = np.array([self.corpus_of[key] for key in predictions.ids], dtype=np.str_)
        parts = {}
        for corpus in np.unique(corpora).tolist():
            (rows,) = np.nonzero(corpora == corpus)
            trained = self.labels_of.get(corpus, predictions.labels)
            columns = [i for i, label in enumerate(predictions.labels) if label in trained]
            parts[corpus] = Predictions.of(
                [predictions.ids[row] for row in rows],
                [predictions.labels[i] for i in columns],
                predictions.log_posteriors[np.ix_(rows, columns)],
                predictions.truth_labels[rows].tolist(),
            )
        return parts

    def metrics(self, predictions: Predictions) -> dict[str, float]:
        """Computes weighted and unweighted accuracy: their means over corpora, and each corpus's.

        Arguments
        ---------
        predictions : Predictions
            Predictions for utterances of the splits.

        Returns
        -------
        dict[str, float]
            `accuracy` and `macro_accuracy`. With several corpora, these are means over corpora, and
            there are also `KEY, CORPUS` for each corpus and `chance`, the mean unweighted accuracy
            of always predicting the same class.

        Example
        -------
        >>> said = Predictions.of(["c"], ["anger", "calm"], np.log([[0.2, 0.8]]), ["calm"])
        >>> rows = {"c": {"emotion": "calm"}, "d": {"emotion": "anger"}}
        >>> CorpusClasses({"train": rows}, "emotion").metrics(said)
        {'accuracy': 1.0, 'macro_accuracy': 1.0}
        """
        parts = self.parts(predictions)
        found = {
            corpus: {"accuracy": accuracy(part), "macro_accuracy": macro_accuracy(part)}
            for corpus, part in parts.items()
        }
        keys = ("accuracy", "macro_accuracy")
        means = {key: float(np.mean([each[key] for each in found.values()])) for key in keys}
        if len(found) < 2:
            return means
        means["chance"] = float(np.mean([1 / len(part.labels) for part in parts.values()]))
        return means | {f"{k}, {c}": v for c, each in found.items() for k, v in each.items()}
