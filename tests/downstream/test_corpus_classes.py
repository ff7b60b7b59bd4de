"""Several corpora in one classification: what is left out, and each scored by itself."""

import numpy as np
import pytest

from masr_modules.downstream.corpus_classes import CorpusClasses, drop_unvalidated, leave_corpus_out
from masr_modules.metrics.predictions import Predictions


def rows(*cells):
    """ID -> row of (ID, corpus, emotion) each."""
    return {key: {"corpus": corpus, "emotion": emotion} for key, corpus, emotion in cells}


def test_classes_that_validation_lacks_are_left_out_of_training_and_told(caplog):
    train = rows(("1", "c", "fra"), ("2", "c", "vot"), ("3", "c", "abk"), ("4", "c", "vot"))
    valid, test = rows(("5", "c", "fra")), rows(("6", "c", "vot"))
    left = drop_unvalidated({"train": train, "valid": valid, "test": test}, "emotion")
    assert list(left["train"]) == ["1"] and left["test"] == test
    assert "left out: abk 1, vot 2" in caplog.text


def test_splits_of_other_classes_are_an_error():
    splits = {"train": rows(("1", "c", "fra")), "valid": rows(("2", "c", "deu"))}
    with pytest.raises(ValueError, match="no training utterance has a emotion of the validation"):
        drop_unvalidated(splits, "emotion")


#: Two emotions that both have, and one that each has alone.
TWO = rows(("1", "a", "joy"), ("2", "a", "fear"), ("3", "a", "calm")) | rows(
    ("4", "b", "joy"), ("5", "b", "fear"), ("6", "b", "boredom")
)


def test_the_unheard_corpus_is_tested_and_the_others_train():
    left = leave_corpus_out({"train": TWO, "valid": TWO, "test": TWO}, "b", "emotion")
    assert {split: list(some) for split, some in left.items()} == {
        "train": ["1", "2"],
        "valid": ["1", "2"],
        "test": ["4", "5"],
    }


def test_an_unheard_corpus_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="unheard_corpus: 'c' is not one of a, b"):
        leave_corpus_out({"train": TWO, "valid": TWO, "test": TWO}, "c", "emotion")


def test_an_unheard_corpus_without_a_common_class_is_an_error():
    splits = {"train": rows(("1", "a", "joy")), "test": rows(("2", "b", "fear"))}
    with pytest.raises(
        ValueError, match="b leaves train empty: check which emotion it has in common"
    ):
        leave_corpus_out(splits, "b", "emotion")


def said(*posteriors, truth):
    """Predictions of the utterances 1, 2, ... over calm, fear and joy."""
    ids = [str(i + 1) for i in range(len(truth))]
    return Predictions.of(ids, ["calm", "fear", "joy"], np.log(posteriors), truth)


#: b trains fear and joy alone.
CLASSES = CorpusClasses(
    {
        "train": rows(("7", "a", "joy"), ("8", "a", "fear"), ("9", "a", "calm"))
        | rows(("10", "b", "joy"), ("11", "b", "fear")),
        "test": rows(("1", "a", "joy"), ("2", "a", "fear"), ("3", "b", "joy"), ("4", "b", "calm")),
    },
    "emotion",
)


def test_corpora_count_alike_and_each_has_its_own_classes():
    predictions = said(
        [0.5, 0.1, 0.4],  # of a, joy: taken for calm
        [0.1, 0.8, 0.1],  # of a, fear: right
        [0.8, 0.1, 0.1001],  # of b, which has no calm: joy, right
        [0.8, 0.1, 0.1],  # of b, calm: no class of it, an error
        truth=["joy", "fear", "joy", "calm"],
    )
    metrics = CLASSES.metrics(predictions)
    assert metrics["macro_accuracy, a"] == 0.5 and metrics["macro_accuracy, b"] == 0.5
    assert metrics["macro_accuracy"] == metrics["accuracy"] == 0.5
    assert metrics["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_a_large_corpus_weighs_no_more_than_a_small_one():
    predictions = said(
        [0.1, 0.1, 0.8],
        [0.1, 0.8, 0.1],
        [0.1, 0.8, 0.1],
        truth=["joy", "fear", "joy"],  # both of a are right, the one of b is wrong
    )
    assert CLASSES.metrics(predictions)["accuracy"] == 0.5


def test_one_corpus_has_the_metrics_of_the_whole():
    predictions = said([0.1, 0.1, 0.8], [0.8, 0.1, 0.1], truth=["joy", "fear"])
    assert CLASSES.metrics(predictions) == {"accuracy": 0.5, "macro_accuracy": 0.5}


def test_a_corpus_that_trains_nothing_is_asked_for_all_classes():
    splits = {"train": rows(("7", "a", "joy")), "test": rows(("1", "b", "joy"))}
    unheard = CorpusClasses(splits, "emotion")
    (part,) = unheard.parts(said([0.1, 0.1, 0.8], truth=["joy"])).values()
    assert part.labels == ("calm", "fear", "joy")
