"""Metrics of a pool of corpora: what each can tell, and not what its channel gives away."""

import numpy as np
import pytest

from masr_modules.metrics.by_corpus import check_questions, evaluate_corpora
from masr_modules.metrics.embeddings import LabelledEmbeddings

LABELS = ("label", "family", "speaker", "gender", "age", "emotion", "corpus")


def split(rows, width=14):
    """One layer of embeddings that hold what the rows' `at` say."""
    x = np.zeros((1, len(rows), width))
    for i, row in enumerate(rows):
        for place, value in row["at"].items():
            x[0, i, place] += value
    return LabelledEmbeddings(
        x, {name: np.array([row.get(name, "") for row in rows]) for name in LABELS}
    )


def pool(emotions=("anger", "calm"), reverse=False):
    """Two corpora far apart (dimension 0), whose emotions lie in dimension 1."""
    rows = []
    for corpus, offset in (("a", 5.0), ("b", -5.0)):
        sign = -1 if reverse and corpus == "b" else 1
        for i in range(8):
            emotion = emotions[i % 2]
            at = {0: offset, 1: sign * (1.0 if emotion == emotions[0] else -1.0)}
            speaker = f"{corpus}{i // 2 % 2}"
            rows.append({"corpus": corpus, "emotion": emotion, "speaker": speaker, "at": at})
    return split(rows)


def test_a_metric_is_the_mean_over_the_corpora_that_are_asked():
    both = pool()
    found = evaluate_corpora(both, both, both, {"emotion": ["a", "b"]})
    assert found.metrics["emotion"] == 1.0
    assert found.metrics["emotion.a"] == found.metrics["emotion.b"] == 1.0
    alone = evaluate_corpora(both, both, both, {"emotion": ["a"]})
    assert "emotion.a" not in alone.metrics  # it is the mean
    assert np.isnan(alone.correct["emotion"]).tolist() == [False] * 8 + [True] * 8


def test_a_label_that_is_not_asked_for_has_no_metric():
    found = evaluate_corpora(pool(), pool(), pool(), {"emotion": ["a", "b"]})
    assert not {"knn", "linear", "speaker_eer", "gender"} & {*found.metrics}


def test_an_unheard_corpus_is_told_by_the_probe_of_the_others():
    same = evaluate_corpora(pool(), pool(), pool(), {"emotion": ["a", "b"]})
    assert same.metrics["emotion_unheard"] == 1.0
    # Where the other corpus says it the other way round, each by itself is right all the same.
    against = pool(reverse=True)
    found = evaluate_corpora(against, against, against, {"emotion": ["a", "b"]})
    assert found.metrics["emotion"] == 1.0 and found.metrics["emotion_unheard"] == 0.0


def test_an_unheard_corpus_is_asked_for_common_emotions_alone():
    first = pool(("anger", "calm")).some(np.arange(8))
    second = pool(("anger", "fear")).some(np.arange(8, 16))
    layers = np.concatenate([first.layers, second.layers], axis=1)
    labels = {name: np.concatenate([first[name], second[name]]) for name in LABELS}
    found = evaluate_corpora(*[LabelledEmbeddings(layers, labels)] * 3, {"emotion": ["a", "b"]})
    assert np.isnan(found.metrics["emotion_unheard"])  # anger alone


def speakers():
    """Two corpora: in "a" all twelve speakers are told apart, in "b" none."""
    rows = []
    for corpus, spread in (("a", 1.0), ("b", 0.0)):
        for i in range(24):
            at = {0: 5.0 if corpus == "a" else -5.0, 2 + i % 12: spread}
            speaker = {"speaker": f"{corpus}{i % 12:02}", "gender": "female", "label": "fra"}
            rows.append(speaker | {"corpus": corpus, "at": at})
    return split(rows)


def test_speakers_are_compared_within_a_corpus():
    found = evaluate_corpora(speakers(), speakers(), speakers(), {"speaker": ["a", "b"]})
    assert found.metrics["speaker_eer.a"] == 0.0
    mean = (found.metrics["speaker_eer.a"] + found.metrics["speaker_eer.b"]) / 2
    assert found.metrics["speaker_eer"] == pytest.approx(mean)
    # One language and gender: the trials are the same.
    assert found.metrics["speaker_eer_within"] == pytest.approx(mean)


def test_of_one_language_that_is_not_named_trials_are_within_a_gender():
    whole = speakers()
    whole.labels["label"][:] = ""
    found = evaluate_corpora(whole, whole, whole, {"speaker": ["a", "b"]})
    assert found.metrics["speaker_eer_within.a"] == 0.0


def genders(others):
    """Ten women and ten men, told by dimension 1, and so many others."""
    people = ["female"] * 10 + ["male"] * 10 + ["other"] * others
    place = {"female": 1.0, "male": -1.0, "other": 1.0}
    return split(
        [
            {"corpus": "a", "gender": gender, "speaker": f"s{i}", "at": {1: place[gender]}}
            for i, gender in enumerate(people)
        ]
    )


def test_a_gender_of_few_speakers_is_no_class():
    few, enough = genders(9), genders(10)
    found = evaluate_corpora(few, few, few, {"gender": ["a"]})
    assert found.metrics["gender"] == 1.0 and np.isnan(found.correct["gender"][20:]).all()
    found = evaluate_corpora(enough, enough, enough, {"gender": ["a"]})
    assert found.metrics["gender"] == pytest.approx(2 / 3)  # others are taken for women


def test_rates_without_a_speaker_are_those_of_the_mean():
    whole = speakers()
    found = evaluate_corpora(whole, whole, whole, {"speaker": ["a", "b"]})
    less = whole.some(whole["speaker"] != "b11")
    without = evaluate_corpora(whole, whole, less, {"speaker": ["a", "b"]})
    # Speakers are in order of corpus and name: b11 is the last of 24.
    assert len(found.correct["speaker_eer"]) == 24
    assert found.correct["speaker_eer"][-1] == pytest.approx(without.metrics["speaker_eer"])


@pytest.mark.parametrize(
    "questions, said",
    [
        ({"accent": ["a"]}, "'accent' is not one of language, speaker"),
        ({"emotion": ["c"]}, "questions, emotion: no utterance's corpus is c; there are a, b"),
    ],
)
def test_questions_that_nothing_answers_are_errors(questions, said):
    with pytest.raises(ValueError, match=said):
        check_questions(questions, ["b", "a"])
