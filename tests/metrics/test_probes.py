"""Metrics of the results table against cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from masr_modules.metrics import probes
from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.probes import evaluate, macro, rates_without, speaker_eer
from masr_modules.metrics.tables import format_table


def splits(noise, size=240, seed=0):
    """Embeddings with a direction a language and one a speaker."""
    rng = np.random.default_rng(seed)
    languages = np.array(["fra", "ita", "rus", "ukr"])[np.arange(size) % 4]
    families = np.where(np.isin(languages, ["fra", "ita"]), "Romance", "Slavic")
    speakers = np.array(list("abcdef"))[np.arange(size) // 4 % 6]
    genders = np.where(np.isin(speakers, list("abc")), "female", "male")
    base = {name: rng.normal(size=16) for name in [*set(languages), *set(speakers)]}
    x = np.stack([base[a] + 0.3 * base[b] for a, b in zip(languages, speakers, strict=True)])
    x = x + noise * rng.normal(size=x.shape)
    emotions = np.array(["sad", "happy"])[np.arange(size) % 7 % 2]
    labels = {"label": languages, "family": families, "speaker": speakers}
    whole = LabelledEmbeddings(x[None], labels | {"gender": genders, "emotion": emotions})
    parts = np.arange(size) // 4 % 3
    return [whole.at(0, parts == part) for part in range(3)]


def labelled(x, language, family=None, gender=None):
    """A split of one layer; speakers are the languages."""
    nobody = np.array([""] * len(language))
    labels = {"label": language, "family": nobody if family is None else family}
    labels |= {"speaker": language, "gender": nobody if gender is None else gender}
    return LabelledEmbeddings(x, labels | {"emotion": nobody})


def test_clear_embeddings_score_high_and_noise_scores_at_chance():
    clear, noise = (evaluate(*splits(level)).metrics for level in (0.1, 100.0))
    assert clear["knn"] > 0.95 and clear["linear"] > 0.95 and clear["within_family"] > 0.95
    assert clear["emotion"] < 0.75  # nothing says it
    assert noise["knn"] < 0.5 and noise["within_family"] < 0.75
    assert noise["speaker_eer"] == pytest.approx(0.5, abs=0.1)


def test_each_metric_has_the_layer_that_validation_chooses():
    good, bad = splits(0.1), splits(100.0)
    both = [
        replace(g, layers=np.concatenate([b.layers, g.layers, b.layers]))
        for g, b in zip(good, bad, strict=True)
    ]
    layers = evaluate(*both).layers
    assert {layers[name] for name in ("knn", "linear", "within_family", "speaker_eer")} == {1}


def test_correctness_is_what_the_metrics_are_made_of():
    references, valid, test = splits(1.5)
    found = evaluate(references, valid, test)
    for name in ("knn", "linear", "within_family"):
        assert 0 < np.mean(found.correct[name]) < 1
        assert macro(test["label"], found.correct[name]) == found.metrics[name]


def naive_rates_without(scores, pairs):
    """Counts anew for each speaker: what `rates_without` has to equal."""
    order = np.argsort(-scores, kind="stable")
    first, second = pairs[:, order]
    same = first == second
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    rates = []
    for speaker in range(pairs.max() + 1):
        others = (first != speaker) & (second != speaker)
        targets, rest = np.cumsum(same & others)[last], np.cumsum(~same & others)[last]
        missed, accepted = np.r_[1, 1 - targets / targets[-1]], np.r_[0, rest / rest[-1]]
        gap = missed - accepted
        after = np.argmax(gap <= 0)
        step = gap[after - 1] / (gap[after - 1] - gap[after])
        rates.append(accepted[after - 1] + step * (accepted[after] - accepted[after - 1]))
    return rates


@pytest.mark.parametrize("decimals", [9, 1, 0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize("speakers", [3, 20, 90])
def test_the_rate_without_a_speaker_is_exactly_that_of_the_others(speakers, decimals):
    rng = np.random.default_rng(speakers)
    pairs = rng.integers(speakers, size=(2, 3000))
    scores = np.round(rng.normal(size=3000) + (pairs[0] == pairs[1]), decimals)
    assert rates_without(scores, pairs).tolist() == naive_rates_without(scores, pairs)


def test_the_rate_without_a_speaker_is_the_equal_error_rate_of_what_is_left():
    rng = np.random.default_rng(0)
    pairs = rng.integers(4, size=(2, 300))
    scores = rng.normal(size=300) + (pairs[0] == pairs[1])
    for speaker, rate in enumerate(rates_without(scores, pairs)):
        keep = (pairs != speaker).all(axis=0)
        assert rate == equal_error_rate(scores[keep], (pairs[0] == pairs[1])[keep])


def test_a_speaker_without_pairs_takes_nothing_away():
    scores, pairs = np.array([0.9, 0.2, 0.4, 0.1]), np.array([[0, 0, 2, 2], [0, 2, 2, 0]])
    assert rates_without(scores, pairs)[1] == equal_error_rate(scores, pairs[0] == pairs[1])


def test_without_its_only_voice_of_two_utterances_there_is_no_rate():
    pairs = np.array([[0, 0, 0], [0, 1, 1]])
    rates = rates_without(np.array([0.9, 0.2, 0.4]), pairs)
    assert np.isnan(rates).tolist() == [True, True]


def test_inside_a_family_only_its_own_languages_compete():
    x = np.array([[[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1], [-1.0, 0.2]]])
    split = labelled(x, np.array(["a", "b", "c", "c", "d"]), np.array(["F", "F", "G", "G", "H"]))
    found = evaluate(split, split, split)
    assert found.metrics["within_family"] == 1.0
    assert np.isnan(found.correct["within_family"]).tolist() == [False, False, True, True, True]


def test_table_leaves_out_what_was_not_measured():
    table = format_table({"a": [{"knn": float("nan")}]}, [("kNN", "knn", "share")])
    assert table.splitlines()[-1].split("|")[2].strip() == ""


def test_gender_where_it_is_not_known_is_left_out():
    x = np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]])
    language = np.array(["a"] * 4)
    split = labelled(x, language, gender=np.array(["female", "male", "", ""]))
    found = evaluate(split, split, split)
    assert found.metrics["gender"] == 1.0
    assert np.isnan(found.correct["gender"]).tolist() == [False, False, True, True]
    nothing = labelled(x, language)
    assert np.isnan(evaluate(split, split, nothing).metrics["gender"])


def test_the_eer_of_many_voices_is_that_of_some(monkeypatch):
    rng = np.random.default_rng(0)
    voices = np.array([f"v{i % 7}" for i in range(400)])
    x = rng.normal(size=(7, 5))[[int(v[1]) for v in voices]] + rng.normal(size=(400, 5))
    labels = {name: voices for name in ("label", "family", "speaker", "gender", "emotion")}
    split = LabelledEmbeddings(x[None], labels)
    whole = speaker_eer(split, split)
    monkeypatch.setattr(probes, "MAX_SPEAKER_UTTERANCES", 100)
    assert speaker_eer(split, split) == pytest.approx(whole, abs=0.05)
    assert len(probes._trials(split, split)[0]) == 100 * 99 / 2


def test_trials_within_labels_pair_those_alone_that_share_them():
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0], [-0.9, 0.2], [0.1, -1.0]])
    speaker = np.array(["s", "s", "t", "u", "u", "v"])
    gender = np.array(["female", "female", "female", "male", "male", ""])
    split = labelled(x[None], np.array(["a"] * 6), gender=gender)
    split.labels["speaker"] = speaker
    scores, (first, second) = probes._trials(split.at(-1), split.at(-1), ["label", "gender"])
    assert len(scores) == 3 + 1  # among three women, and among two men; not of whom is not known
    assert (first == second).sum() == 2
    found = evaluate(split, split, split, within=["gender"])
    assert found.metrics["speaker_eer_within"] <= found.metrics["speaker_eer"] == 0.0
    assert "speaker_eer_within" not in evaluate(split, split, split).metrics


def test_without_trials_there_is_no_rate_on_validation_either():
    points = np.eye(4)[None].astype(float)
    labels = {name: np.full(4, "") for name in ("label", "family", "gender", "emotion")}
    split = LabelledEmbeddings(points, labels | {"speaker": np.array(["a", "b", "c", "d"])})
    found = evaluate(split, split, split, within=["gender"]).metrics
    assert np.isnan(found["valid_speaker_eer"]) and np.isnan(found["valid_speaker_eer_within"])
