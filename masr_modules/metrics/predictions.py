"""A classifier's predictions on a test set, kept as a CSV from which every metric follows."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from masr_modules.config.files import write_atomic

_HEADER = ["ID", "truth", "predicted"]
_SCORE = "score_"


@dataclass
class Predictions:
    """The scores of N utterances in L classes, with the true classes.

    Arguments
    ---------
    ids : list[str]
        N IDs of utterances.
    labels : sequence of str
        L names of classes.
    log_posteriors : np.ndarray
        (N, L) float32, natural logarithms.
    truth : np.ndarray
        (N,) int, index into `labels`; -1 where the truth is not known or not a class.
    unseen : dict[str, str], optional
        ID -> true label, for the rows whose true label is not a class.

    Raises
    ------
    ValueError
        If lengths differ, labels or IDs are repeated, a true class is out of range, or a score is
        NaN; the message names the label or utterance.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4]])
    >>> predictions = Predictions.of(["x", "y"], ["fra", "ita"], scores, ["fra", "cat"])
    >>> predictions.truth.tolist(), predictions.unseen
    ([0, -1], {'y': 'cat'})
    >>> path = getfixture("tmp_path") / "predictions.csv"
    >>> predictions.write_csv(path)
    >>> print(path.read_text().splitlines()[2])
    y,cat,fra,-0.51082563,-0.91629076
    >>> Predictions.read_csv(path).predicted_labels.tolist()
    ['fra', 'fra']
    """

    ids: list[str]
    labels: tuple[str, ...]
    log_posteriors: np.ndarray
    truth: np.ndarray
    unseen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids, self.labels = list(self.ids), tuple(self.labels)
        self.truth = np.asarray(self.truth, dtype=np.int64)
        self.log_posteriors = np.asarray(self.log_posteriors, dtype=np.float32)
        shape = (len(self.ids), len(self.labels))
        if self.log_posteriors.shape != shape or self.truth.shape != shape[:1]:
            raise ValueError(
                f"{len(self.ids)} IDs and {len(self.labels)} labels do not fit scores of shape "
                f"{self.log_posteriors.shape} and {len(self.truth)} true classes"
            )
        for what, names in (("ID", self.ids), ("label", self.labels)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} {Counter(names).most_common(1)[0][0]!r} is repeated")
        if not ((self.truth >= -1) & (self.truth < len(self.labels))).all():
            raise ValueError(f"true classes must lie between -1 and {len(self.labels) - 1}")
        broken = np.isnan(self.log_posteriors).any(axis=1)
        if broken.any():
            raise ValueError(f"the scores of {self.ids[broken.argmax()]!r} hold a NaN")

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        labels: Sequence[str],
        log_posteriors: np.ndarray,
        truth: Sequence[str],
    ) -> "Predictions":
        """Makes predictions from the names of the true labels, as a corpus has them.

        A label that is not known is "".
        """
        index = {label: i for i, label in enumerate(labels)}
        unseen = {i: name for i, name in zip(ids, truth, strict=True) if name and name not in index}
        codes = np.array([index.get(name, -1) for name in truth], dtype=np.int64)
        return cls(list(ids), tuple(labels), log_posteriors, codes, unseen)

    @property
    def predicted(self) -> np.ndarray:
        """(N,) index of the highest score."""
        return self.log_posteriors.argmax(axis=1)

    @property
    def truth_labels(self) -> np.ndarray:
        """(N,) str: true labels, also those that are not a class; "" where not known."""
        names = [self.labels[true] if true >= 0 else "" for true in self.truth]
        return np.array(
            [name or self.unseen.get(i, "") for i, name in zip(self.ids, names, strict=True)],
            dtype=np.str_,
        )

    @property
    def predicted_labels(self) -> np.ndarray:
        """(N,) str: labels of the highest scores."""
        return np.array(self.labels, dtype=np.str_)[self.predicted]

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: whether the true label of each row is known, be it a class or not."""
        return self.truth_labels != ""

    @property
    def unseen_counts(self) -> dict[str, int]:
        """True label that is not a class -> number of its rows, to be stated with the metrics."""
        return dict(sorted(Counter(self.unseen[i] for i in self.ids if i in self.unseen).items()))

    def write_csv(self, path: str | Path) -> None:
        """Writes ID, truth, predicted and a column `score_LABEL` for each class.

        The file is written whole or not at all.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER + [_SCORE + label for label in self.labels])
        cells = zip(
            self.ids, self.truth_labels, self.predicted_labels, self.log_posteriors, strict=True
        )
        for utterance, true, predicted, scores in cells:
            writer.writerow([utterance, true, predicted, *map(str, scores)])
        write_atomic(path, text.getvalue())

    @classmethod
    def read_csv(cls, path: str | Path) -> "Predictions":
        """Reads predictions that `write_csv` wrote.

        Raises
        ------
        ValueError
            If a column or cell is missing, a score is not a number, or `predicted` does not have
            the highest score; the message names file and line.
        """
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            labels = [name.removeprefix(_SCORE) for name in header[3:]]
            if header != _HEADER + [_SCORE + label for label in labels] or not labels:
                raise ValueError(
                    f"{path}: the columns must be {', '.join(_HEADER)} and {_SCORE}LABEL for each "
                    f"class; found {', '.join(header[:5])}"
                )
            ids, truth, scores = [], [], []
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where}: {len(row)} cells, but the header has {len(header)}")
                try:
                    scores.append(np.array(row[3:], dtype=np.float32))
                except ValueError as error:
                    raise ValueError(f"{where}: a score is not a number ({error})") from error
                if labels[scores[-1].argmax()] != row[2]:
                    raise ValueError(
                        f"{where}: predicted {row[2]!r} does not have the highest score"
                    )
                ids.append(row[0])
                truth.append(row[1])
        return cls.of(ids, labels, np.array(scores).reshape(len(ids), len(labels)), truth)
