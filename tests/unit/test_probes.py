"""Metrics of the results table against cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from masr_modules.metrics.probes import (
    Split,
    evaluate,
    gender_accuracy,
    within_family_accuracy,
)
from masr_modules.results import format_table


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
    whole = Split(x[None], languages, families, speakers, genders)
    parts = np.arange(size) // 4 % 3
    return [whole.at(0, parts == part) for part in range(3)]


def test_clear_embeddings_score_high_and_noise_scores_at_chance():
    clear, noise = evaluate(*splits(0.1)), evaluate(*splits(100.0))
    assert clear["knn"] > 0.95 and clear["linear"] > 0.95 and clear["within_family"] > 0.95
    assert noise["knn"] < 0.5 and noise["within_family"] < 0.75
    assert noise["speaker_eer"] == pytest.approx(0.5, abs=0.1)


def test_the_layer_is_chosen_on_the_validation_set():
    good, bad = splits(0.1), splits(100.0)
    both = [
        replace(g, layers=np.concatenate([b.layers, g.layers, b.layers]))
        for g, b in zip(good, bad, strict=True)
    ]
    assert evaluate(*both)["layer"] == 1


def test_inside_a_family_only_its_own_languages_compete():
    x = np.array([[[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1], [-1.0, 0.2]]])
    language = np.array(["a", "b", "c", "c", "d"])
    family = np.array(["F", "F", "G", "G", "H"])
    split = Split(x, language, family, language, language)
    assert within_family_accuracy(split, split) == 1.0


def test_table_leaves_out_what_was_not_measured():
    table = format_table({"a": [{"knn": float("nan")}]}, [("kNN", "knn", "share")])
    assert table.splitlines()[-1].split("|")[2].strip() == ""


def test_gender_where_it_is_not_known_is_left_out():
    labels = np.array(["a"] * 4)
    gender = np.array(["female", "male", "", ""])
    x = np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]])
    split = Split(x, labels, labels, labels, gender)
    assert gender_accuracy(split, split) == 1.0
    nothing = replace(split, gender=np.array([""] * 4))
    assert np.isnan(gender_accuracy(split, nothing))
