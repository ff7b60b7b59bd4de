"""Reports of verification trials, for each list of trials."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from masr_modules.config.files import write_atomic
from masr_modules.metrics.detection import equal_error_rate, min_dcf
from masr_modules.metrics.tables import align
from masr_modules.metrics.verification import score_trials, trial_languages

#: Columns of scores.csv.
SCORE_COLUMNS = ("enrol", "test", "target", "score", "score_snorm", "list")

#: Metric -> its title in verification.md.
TITLES = {"eer": "EER (%)", "min_dcf_01": "minDCF 0.01", "min_dcf_05": "minDCF 0.05"}


@dataclass
class ScoredTrials:
    """N trials with their scores.

    Arguments
    ---------
    trials : sequence of (str, str, int)
        ID to enrol, ID to test, and 1 (same speaker) or 0.
    cosine : np.ndarray
        (N,) cosines.
    snorm : np.ndarray
        (N,) cosines after adaptive s-norm.
    """

    trials: Sequence[tuple[str, str, int]]
    cosine: np.ndarray
    snorm: np.ndarray

    @classmethod
    def of(
        cls,
        trials: Sequence[tuple[str, str, int]],
        embeddings: Mapping[str, np.ndarray],
        cohort: np.ndarray,
    ) -> "ScoredTrials":
        """Scores trials.

        Arguments
        ---------
        trials : sequence of (str, str, int)
            ID to enrol, ID to test, and 1 (same speaker) or 0.
        embeddings : mapping of str to np.ndarray
            ID -> (D,) embedding.
        cohort : np.ndarray
            (C, D) cohort, see `masr_modules.metrics.verification.speaker_mean_cohort`.

        Example
        -------
        >>> x = {"a": np.array([1.0, 0.0]), "b": np.array([3.0, 4.0])}
        >>> ScoredTrials.of([("a", "b", 1)], x, np.eye(2)).cosine
        array([0.6])
        """
        place = {utterance: index for index, utterance in enumerate(embeddings)}
        pairs = np.array([(place[enrol], place[test]) for enrol, test, _ in trials])
        matrix = np.stack(list(embeddings.values()))
        return cls(trials, score_trials(matrix, pairs), score_trials(matrix, pairs, cohort))

    @property
    def targets(self) -> np.ndarray:
        """(N,) bool, whether each trial is a target."""
        return np.array([bool(target) for *_, target in self.trials])

    def only(self, chosen: np.ndarray) -> "ScoredTrials":
        """Returns the trials that an (N,) bool mask selects."""
        trials = [self.trials[i] for i in np.flatnonzero(chosen)]
        return ScoredTrials(trials, self.cosine[chosen], self.snorm[chosen])

    def metrics(self) -> dict[str, float]:
        """Computes EER and normalised minDCF, without and with s-norm, and the cosine at the EER.

        Example
        -------
        >>> trials = [("a", "b", 1), ("a", "c", 0), ("d", "c", 1), ("d", "b", 0)]
        >>> scores = np.array([0.9, 0.1, 0.8, 0.3])
        >>> metrics = ScoredTrials(trials, scores, scores).metrics()
        >>> metrics["targets"], metrics["eer"], metrics["min_dcf_01_snorm"], metrics["threshold"]
        (2, 0.0, 0.0, 0.8)
        """
        targets = self.targets
        metrics = {"trials": len(targets), "targets": int(targets.sum())}
        for suffix, scores in (("", self.cosine), ("_snorm", self.snorm)):
            metrics[f"eer{suffix}"] = equal_error_rate(scores, targets)
            metrics[f"min_dcf_01{suffix}"] = min_dcf(scores, targets, 0.01)
            metrics[f"min_dcf_05{suffix}"] = min_dcf(scores, targets, 0.05)
        return metrics | {"threshold": equal_error_threshold(self.cosine, targets)}

    def has_both_kinds(self) -> bool:
        """Returns whether there are targets and non-targets."""
        return 0 < self.targets.sum() < len(self.trials)


def equal_error_threshold(scores: np.ndarray, targets: np.ndarray) -> float:
    """Finds the threshold with about equal error rates; scores at or above it are accepted.

    Example
    -------
    >>> equal_error_threshold(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0]))
    0.6
    """
    accepted, detected, thresholds = roc_curve(targets, scores, drop_intermediate=False)
    return float(thresholds[np.argmin(np.abs(1 - detected - accepted))])


def check_trials(
    trials: Sequence[tuple[str, str, int]], rows: Mapping[str, dict], name: str
) -> None:
    """Checks that a list of trials can be scored.

    Raises
    ------
    ValueError
        If an utterance is not in the test set, or there is no target or no non-target.

    Example
    -------
    >>> check_trials([("a", "b", 1)], {"a": {}}, "mine")
    Traceback (most recent call last):
    ...
    ValueError: trials mine: 1 of 2 utterances are not in the test set (first: 'b'); ...
    """
    named = dict.fromkeys(utterance for *pair, _ in trials for utterance in pair)
    if missing := [utterance for utterance in named if utterance not in rows]:
        raise ValueError(
            f"trials {name}: {len(missing)} of {len(named)} utterances are not in the test set "
            f"(first: {missing[0]!r}); check that trials and test_csv were written together, and "
            "in log.txt which rows of test_csv were unreadable, too short or without a speaker"
        )
    targets = sum(target for *_, target in trials)
    if not 0 < targets < len(trials):
        raise ValueError(
            f"trials {name}: {targets} of {len(trials)} trials are of one speaker; an error rate "
            "needs both kinds: test utterances of two speakers or more, and two of one of them"
        )


def report_lists(
    lists: Mapping[str, ScoredTrials],
    rows: Mapping[str, dict],
    folder: Path,
    trained_on: str,
    average: bool = False,
) -> dict:
    """Computes the metrics of every list, and writes scores.csv and verification.md.

    Arguments
    ---------
    lists : dict[str, ScoredTrials]
        Name -> scored trials.
    rows : dict
        ID -> row of the test set; if languages are known, trials within a language and across
        languages are also reported separately.
    folder : Path
        Folder of the run.
    trained_on : str
        The description of the training set under the table.
    average : bool
        Whether the metrics are means over the lists, such as those of corpora; else they are those
        of the first list.

    Returns
    -------
    dict[str, float]
        Key -> metric of the first list, or mean of all. There are keys such as `eer`, keys of parts
        such as `eer_cross_language` and, if there are several lists, keys `KEY, LIST`. A part
        without targets or without non-targets has no metrics.
    """
    parts = {}
    for name, scored in lists.items():
        same, cross = trial_languages(scored.trials, rows)
        parts[name, ""] = scored
        parts[name, "_same_language"] = scored.only(same)
        parts[name, "_cross_language"] = scored.only(cross)
    parts = {key: part for key, part in parts.items() if part.has_both_kinds()}
    metrics = {key: part.metrics() for key, part in parts.items()}
    write_atomic(folder / "scores.csv", _scores_csv(lists))
    write_atomic(folder / "verification.md", f"{_table(metrics)}\n\nTrained on {trained_on}.\n")
    counted = list(lists) if average else list(lists)[:1]
    values = defaultdict(list)
    flat = {}
    for (name, part), found in metrics.items():
        for key, value in found.items():
            if name in counted:
                values[key + part].append(value)
            if len(lists) > 1:
                flat[f"{key}{part}, {name}"] = value
    return {key: _joined(key, of_lists) for key, of_lists in values.items()} | flat


def _joined(key: str, values: Sequence[float]) -> float:
    counts = key.startswith(("trials", "targets"))
    return sum(values) if counts else sum(values) / len(values)


def _scores_csv(lists: Mapping[str, ScoredTrials]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for name, scored in lists.items():
        for trial, *scores in zip(scored.trials, scored.cosine, scored.snorm, strict=True):
            writer.writerow([*trial, *(f"{score:.9g}" for score in scores), name])
    return text.getvalue()


def _table(metrics: Mapping[tuple[str, str], dict]) -> str:
    header = ["trials", "number", "targets"]
    for title in TITLES.values():
        header += [title, "with s-norm"]
    body = []
    for (name, part), found in metrics.items():
        cells = [name + part.replace("_", " "), str(found["trials"]), str(found["targets"])]
        for key in TITLES:
            for value in (found[key], found[f"{key}_snorm"]):
                cells.append(f"{100 * value:.1f}" if key == "eer" else f"{value:.3f}")
        body.append(cells)
    return align(header, body)
