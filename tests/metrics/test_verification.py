"""Scores of trials against a double loop, and the trials that are drawn."""

from itertools import combinations

import numpy as np
import pytest

from masr_modules.metrics import verification
from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.verification import (
    cosine_scores,
    sample_trials,
    score_trials,
    speaker_mean_cohort,
    trial_languages,
)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def normalised_one_by_one(x, pairs, cohort, top):
    """AS-norm as its definition has it."""
    scores = []
    for enrol, test in pairs:
        score, sides = cosine(x[enrol], x[test]), []
        for side in (enrol, test):
            best = sorted((cosine(x[side], c) for c in cohort), reverse=True)[:top]
            sides.append((score - np.mean(best)) / np.std(best))
        scores.append(0.5 * sum(sides))
    return np.array(scores)


@pytest.mark.parametrize("top", [5, 300], ids=["top of the cohort", "cohort smaller than top"])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_normalised_scores_are_those_of_a_double_loop(monkeypatch, top, dtype, tolerance):
    monkeypatch.setattr(verification, "_TILE", 50)  # several tiles
    rng = np.random.default_rng(0)
    x, cohort = rng.normal(size=(12, 8)), rng.normal(size=(20, 8))
    pairs = rng.integers(0, 12, size=(30, 2))
    expected = normalised_one_by_one(x, pairs, cohort, top)
    ours = score_trials(x.astype(dtype), pairs, cohort.astype(dtype), top)
    assert ours.dtype == dtype
    assert ours == pytest.approx(expected, abs=tolerance)


def test_without_a_cohort_the_score_is_the_cosine(monkeypatch):
    monkeypatch.setattr(verification, "_TILE", 10)
    x = np.random.default_rng(0).normal(size=(6, 4))
    pairs = np.array(list(combinations(range(6), 2)))
    assert score_trials(x, pairs) == pytest.approx(cosine_scores(x, x)[tuple(pairs.T)])
    assert cosine_scores(x, x)[1, 4] == pytest.approx(cosine(x[1], x[4]))


def test_normalisation_mends_a_speaker_who_is_near_everyone():
    # Voices 2 and 3 lie close to the direction that all voices share: their 400 pairs with one
    # another score above every target of voices 0 and 1, which are half of the targets. So one
    # threshold accepts these 400 of 2 400 non-targets, or misses that half: the EER is 1 / 6.
    rng = np.random.default_rng(0)

    def utterances(voice, common, count=20):
        return common * np.eye(40)[0] + voice + 0.1 * rng.normal(size=(count, 40))

    voices = np.eye(40)[1:]
    cohort = np.concatenate([utterances(voice, 1.0, 5) for voice in voices[4:]])
    cohort = speaker_mean_cohort(cohort, np.repeat([f"s{i}" for i in range(35)], 5))
    commons = [0.0, 0.0, 3.0, 3.0]
    x = np.concatenate([utterances(v, c) for v, c in zip(voices[:4], commons, strict=True)])
    speaker = np.repeat(np.arange(4), 20)
    pairs = np.array(list(combinations(range(80), 2)))
    targets = speaker[pairs[:, 0]] == speaker[pairs[:, 1]]
    plain = equal_error_rate(score_trials(x, pairs), targets)
    normalised = equal_error_rate(score_trials(x, pairs, cohort, top=10), targets)
    assert plain == pytest.approx(400 / 2400)
    assert normalised < plain / 2


def test_the_cohort_has_one_unit_vector_a_speaker():
    x = np.array([[4.0, 0.0], [0.0, 1.0], [-7.0, 0.0], [1.0, 1.0]])
    cohort = speaker_mean_cohort(x, ["b", "b", "a", ""])
    assert cohort == pytest.approx(np.array([[-1, 0], [np.sqrt(0.5), np.sqrt(0.5)]]))
    with pytest.raises(ValueError, match="no utterance has a speaker"):
        speaker_mean_cohort(x, [""] * 4)


def test_what_cannot_be_scored_is_named():
    x, pair = np.eye(3), np.array([[0, 1]])
    with pytest.raises(ValueError, match="embedding 3 of 3"):
        score_trials(x, np.array([[0, 3]]))
    with pytest.raises(ValueError, match="embedding -1 of 3"):
        score_trials(x, np.array([[0, -1]]))
    with pytest.raises(ValueError, match="embedding 1 is not finite"):
        score_trials(np.array([[0.0], [np.nan]]), pair)
    with pytest.raises(ValueError, match="two cohort speakers"):
        score_trials(x, pair, cohort=x[:1])


def corpus(count, speakers, languages, seed=0):
    """Rows with speakers, who speak several languages; names may be empty."""
    rng = np.random.default_rng(seed)
    cells = zip(rng.choice(speakers, count), rng.choice(languages, count), strict=True)
    return {f"u{i}": {"speaker": str(s), "language": str(v)} for i, (s, v) in enumerate(cells)}


def kind(trial, rows):
    a, b = (rows[i]["language"] for i in trial[:2])
    return trial[2], "unknown" if "" in (a, b) else "same" if a == b else "cross"


@pytest.mark.parametrize("languages", [["fra", "deu", ""], ["fra"], [""], ["fra", "deu", "fin"]])
def test_all_pairs_of_a_small_corpus_are_taken(languages):
    rows = corpus(30, ["a", "b", "c", ""], languages)
    known = [i for i in rows if rows[i]["speaker"]]
    expected = [
        (i, j, int(rows[i]["speaker"] == rows[j]["speaker"])) for i, j in combinations(known, 2)
    ]
    assert sample_trials(rows, max_trials=10_000, seed=0) == expected


def test_kinds_of_trials_are_balanced():
    rows = corpus(400, list("abcdefgh"), ["fra", "deu", "fin", ""])
    trials = sample_trials(rows, max_trials=600, seed=0)
    counts = {}
    for trial in trials:
        assert trial[2] == (rows[trial[0]]["speaker"] == rows[trial[1]]["speaker"])
        counts[kind(trial, rows)] = counts.get(kind(trial, rows), 0) + 1
    assert counts == {(t, k): 100 for t in (0, 1) for k in ("same", "cross", "unknown")}
    pairs = {frozenset(trial[:2]) for trial in trials}
    assert len(pairs) == 600 and all(len(pair) == 2 for pair in pairs)


def test_what_one_kind_of_trial_lacks_goes_to_the_others():
    # One target pair: the other 19 trials are non-targets.
    rows = {f"u{i}": {"speaker": f"s{i}", "language": "fra"} for i in range(9)}
    rows["u9"] = {"speaker": "s0", "language": "fra"}
    trials = sample_trials(rows, max_trials=20, seed=0)
    assert len(trials) == 20 and [t for t in trials if t[2]] == [("u0", "u9", 1)]


def test_every_pair_of_a_kind_is_drawn_as_often():
    rows = corpus(12, ["a", "b"], ["fra", "deu"], seed=1)
    drawn = {}
    for seed in range(600):
        for trial in sample_trials(rows, max_trials=8, seed=seed):
            drawn.setdefault(kind(trial, rows), {}).setdefault(trial, []).append(seed)
    for pairs in drawn.values():
        expected = 600 * 2 / len(pairs)  # two of a kind each time
        worst = max(abs(len(seeds) - expected) for seeds in pairs.values())
        assert worst < 5 * np.sqrt(expected)
    assert {kind: len(pairs) for kind, pairs in drawn.items()} == {
        kind_: sum(kind(t, rows) == kind_ for t in sample_trials(rows, 1000, 0)) for kind_ in drawn
    }


def test_the_seed_decides_the_trials():
    rows = corpus(200, list("abcdef"), ["fra", "deu"])
    assert sample_trials(rows, 100, seed=1) == sample_trials(rows, 100, seed=1)
    assert sample_trials(rows, 100, seed=1) != sample_trials(rows, 100, seed=2)


def test_a_large_corpus_is_never_paired_up():
    # 5 000 000 000 pairs.
    rows = corpus(100_000, [f"s{i}" for i in range(3000)], ["fra", "deu", "fin"])
    trials = sample_trials(rows, max_trials=2000, seed=0)
    assert len(set(trials)) == 2000 and sum(trial[2] for trial in trials) == 1000


def test_trials_within_columns_are_those_pairs_that_share_them_and_have_them():
    rng = np.random.default_rng(0)
    genders = rng.choice(["female", "male", ""], 40).tolist()
    rows = corpus(40, ["a", "b", "c", "d"], ["fra", "deu", ""])
    rows = {i: row | {"gender": g} for (i, row), g in zip(rows.items(), genders, strict=True)}

    def share(i, j):
        return all(rows[i][c] == rows[j][c] != "" for c in ("language", "gender"))

    expected = [
        (i, j, int(rows[i]["speaker"] == rows[j]["speaker"]))
        for i, j in combinations(rows, 2)
        if share(i, j)
    ]
    trials = sample_trials(rows, max_trials=10_000, seed=0, within=["language", "gender"])
    assert trials == expected and {trial[2] for trial in trials} == {0, 1}
    few = sample_trials(rows, max_trials=10, seed=0, within=["language", "gender"])
    assert set(few) < set(expected) and sum(trial[2] for trial in few) == 5


def test_no_speaker_no_trials():
    assert sample_trials(corpus(5, [""], ["fra"]), 10, seed=0) == []
    assert sample_trials({}, 10, seed=0) == []


def test_trials_within_and_across_languages():
    rows = {i: {"language": lang} for i, lang in zip("abc", ["fra", "deu", ""], strict=True)}
    same, cross = trial_languages([("a", "a", 1), ("a", "b", 0), ("b", "c", 0)], rows)
    assert same.tolist() == [True, False, False] and cross.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="'z' is not in the test set"):
        trial_languages([("a", "z", 0)], rows)
    assert [len(mask) for mask in trial_languages([], rows)] == [0, 0]
