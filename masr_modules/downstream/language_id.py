"""Language identification: a classification, with metrics of errors between languages."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from masr_modules.config.extras import skip_without_extra
from masr_modules.config.files import write_atomic
from masr_modules.downstream.classification import ClassificationBrain, guess_a_class
from masr_modules.downstream.task import Column, Task, Use
from masr_modules.knowledge.languages import canonical_language
from masr_modules.metrics.classification import (
    by_group,
    duration_group,
    family_error,
    most_confused,
    plot_confusion,
    top_k_accuracy,
    within_family_accuracy,
)
from masr_modules.metrics.detection import average_cost, log_likelihood_ratios
from masr_modules.metrics.predictions import Predictions
from masr_modules.metrics.tables import align

logger = logging.getLogger(__name__)

TASK = Task(
    name="language_id",
    title="Language identification",
    brain=ClassificationBrain,
    columns=(
        Column("macro accuracy", "macro_accuracy", "share"),
        Column("accuracy", "accuracy", "share"),
        Column("Cavg", "cavg", "cost"),
        Column("top 3", "top_3", "share"),
        Column("family error", "family_error", "share"),
        Column("within family", "within_family", "share"),
    ),
    higher_is_better=True,
    chance=guess_a_class,
    use=Use("classifiers", "EncoderClassifier", "classify_file"),
    mini_yaml="mini_lid.yaml",
    prefix="language",
    place=1,
)


def language_metrics(
    predictions: Predictions,
    rows: Mapping[str, dict],
    label: str = "language",
    pretrained_on: Mapping | None = None,
) -> dict[str, float]:
    """Computes the metrics of a test set beside accuracy.

    Arguments
    ---------
    predictions : Predictions
        The predictions on the test set.
    rows : Mapping
        ID -> row of the test set, with `family` and `duration`.
    label : str
        Column of the classes.
    pretrained_on : Mapping, optional
        The encoder's facts; its `languages`, if any, are those seen in pretraining.

    Returns
    -------
    dict[str, float]
        Key -> metric in [0, 1], and `not_a_class`, a number of utterances; the accuracies of groups
        of utterances have the group's name in the key. Metrics of families are NaN if no family is
        known, and Cavg is NaN if there is only one language.

    Example
    -------
    >>> posteriors = np.log([[0.8, 0.2], [0.6, 0.4]])
    >>> predictions = Predictions.of(["a", "b"], ("por", "spa"), posteriors, ["por", "spa"])
    >>> row = {"family": "Romance", "duration": 2.0}
    >>> rows = {"a": row | {"language": "por"}, "b": row | {"language": "spa"}}
    >>> metrics = language_metrics(predictions, rows)
    >>> metrics["family_error"], metrics["within_family"], metrics["not_a_class"]
    (0.0, 0.5, 0)
    """
    family_of = families(rows, label)
    if not family_of:
        logger.warning("the test set has no known family: metrics of families are empty")
    present = np.unique(predictions.truth[predictions.truth >= 0])
    cavg = float("nan")
    if len(present) < 2:
        logger.warning("the test set has fewer than two values of %s: Cavg is empty", label)
    else:
        ratios = log_likelihood_ratios(predictions.log_posteriors, among=present)
        cavg = average_cost(ratios, predictions.truth)
    metrics = {
        "cavg": cavg,
        "top_3": top_k_accuracy(predictions, 3),
        "family_error": family_error(predictions, family_of),
        "within_family": within_family_accuracy(predictions, family_of),
        "not_a_class": sum(predictions.unseen_counts.values()),
    }
    groupings = [{key: duration_group(row["duration"]) for key, row in rows.items()}]
    if seen := set(map(shared_code, (pretrained_on or {}).get("languages", []))):
        groupings.append(
            {
                utterance: "seen in pretraining"
                if shared_code(row.get("language") or row[label]) in seen
                else "not seen in pretraining"
                for utterance, row in rows.items()
            }
        )
    for group_of in groupings:
        metrics |= {f"accuracy, {k}": v for k, v in by_group(predictions, group_of).items()}
    return metrics


def families(rows: Mapping[str, dict], label: str = "language") -> dict[str, str]:
    """Returns class -> its family, for classes of known family.

    Example
    -------
    >>> families({"a": {"language": "por", "family": "Romance"}})
    {'por': 'Romance'}
    """
    return {row[label]: row["family"] for row in rows.values() if row.get("family")}


def shared_code(code: str) -> str:
    """Returns the code of a language that all corpora share; keeps a label that is no language.

    Example
    -------
    >>> shared_code("zho"), shared_code("my dialect")
    ('cmn', 'my dialect')
    """
    try:
        return canonical_language(code)
    except ValueError:
        return code


def save_confusions(folder: Path, predictions: Predictions, family_of: Mapping[str, str]) -> None:
    """Saves a picture and a table of confused classes: confusion.png and confused.md.

    Arguments
    ---------
    folder : Path
        Folder of the run.
    predictions : Predictions
        The predictions on the test set.
    family_of : Mapping
        Class -> family, by which classes are sorted.
    """
    with skip_without_extra("confusion.png"):
        plot_confusion(predictions, family_of, folder / "confusion.png")
    header = ["language", "taken for", "fraction (%)", "utterances"]
    body = [
        [truth, other, f"{100 * share:.1f}", str(count)]
        for truth, other, share, count in most_confused(predictions, 20)
    ]
    write_atomic(folder / "confused.md", align(header, body) + "\n" if body else "none\n")
