"""LanguageDistance: similarity of languages by URIEL+."""

import logging

import numpy as np
import pytest
import torch
from label_sources import all_pairs, corpus_of

from masr_modules.knowledge import LanguageDistance
from masr_modules.knowledge.language_distances import DISTANCE_KINDS, language_distances

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """An empty cache for the module, so that no test depends on the user's."""
    folder = tmp_path_factory.getbasetemp() / "knowledge_cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


def distance(labels, column="language", **settings):
    return LanguageDistance(column, metadata=corpus_of(column, labels), **settings)


def test_similarity_is_one_minus_the_distance():
    codes = ["nob", "swe", "fin"]
    similarity, valid = all_pairs(distance(codes, kinds="genetic"))
    expected = 1 - language_distances(codes, "genetic")
    np.testing.assert_allclose(similarity.numpy(), expected, atol=1e-6)
    assert similarity.dtype == torch.float32
    assert valid.all()


def test_same_language_has_similarity_one():
    similarity, _ = all_pairs(distance(["eng", "tur", "yor"]))
    assert similarity.diagonal().tolist() == [1, 1, 1]


def test_labels_of_one_language_have_similarity_one():
    similarity, _ = all_pairs(distance(["sv_se", "swe"]))
    assert similarity.tolist() == [[1, 1], [1, 1]]


def test_close_relatives_are_more_alike_than_strangers():
    similarity, _ = all_pairs(distance(["nob", "swe", "zul"]))
    assert similarity[0, 1] > similarity[0, 2] + 0.2


def test_kinds_are_averaged():
    codes = ["eng", "fin"]
    kinds = ("genetic", "geographic")
    similarity, _ = all_pairs(distance(codes, kinds=kinds))
    expected = 1 - sum(language_distances(codes, kind)[0, 1] for kind in kinds) / 2
    assert similarity[0, 1].item() == pytest.approx(expected, abs=1e-6)


def test_kind_that_is_not_known_for_a_pair_is_left_out_of_the_average():
    # Esperanto has a place, but no relatives.
    similarity, valid = all_pairs(distance(["epo", "eng"], kinds=("genetic", "geographic")))
    expected = 1 - language_distances(["epo", "eng"], "geographic")[0, 1]
    assert valid[0, 1]
    assert similarity[0, 1].item() == pytest.approx(expected, abs=1e-6)


def test_missing_language_is_not_valid():
    source = distance(["eng", "deu"])
    similarity, valid = source.pairs(torch.tensor([-1, 0]), torch.tensor([0, -1, 1]))
    assert valid.tolist() == [[False] * 3, [True, False, True]]
    assert similarity[~valid].tolist() == [0, 0, 0, 0]


def test_artificial_language_is_not_valid_and_named_in_one_warning(caplog):
    with caplog.at_level(logging.WARNING):
        source = distance(["epo", "eng", "ina"], kinds="genetic")
    _, valid = all_pairs(source)
    assert valid.tolist() == [[False] * 3, [False, True, False], [False] * 3]
    (record,) = caplog.records
    assert "'language'" in record.getMessage()
    assert "no genetic features of epo, ina" in record.getMessage()


def test_languages_that_are_all_known_give_no_warning(caplog):
    distance(["eng", "deu"], kinds="genetic")
    assert caplog.records == []


def test_label_without_a_language_is_an_error_that_says_what_to_do():
    message = "LanguageDistance on 'accent': label 'klingonese' in column 'accent'.*on_unknown"
    with pytest.raises(ValueError, match=message):
        distance(["eng", "klingonese"], column="accent")


def test_label_without_a_language_can_count_as_missing(caplog):
    source = distance(["klingonese", "eng"], kinds="genetic", on_unknown="missing")
    _, valid = all_pairs(source)
    assert valid.tolist() == [[False, False], [False, True]]
    assert "klingonese" in caplog.text


@pytest.mark.parametrize("kinds", ["phonetic", ("genetic", "phonetic"), ()])
def test_unknown_kind_is_an_error_that_lists_the_known(kinds):
    with pytest.raises(ValueError, match=", ".join(DISTANCE_KINDS)):
        LanguageDistance(kinds=kinds)


def test_pairs_are_looked_up_in_the_table_of_construction(monkeypatch):
    source = distance(["eng", "deu"])
    monkeypatch.setattr("masr_modules.knowledge.language.language_distances", None)
    similarity, valid = all_pairs(source)
    assert valid.all() and similarity[0, 1] > 0.3


def test_another_corpus_has_a_source_of_its_own():
    first = distance(["eng", "deu"], kinds="genetic")
    second = distance(["eng", "fin"], kinds="genetic")
    assert all_pairs(first)[0][0, 1] > 0
    assert all_pairs(second)[0][0, 1] == 0


def test_a_column_without_any_label_has_a_source():
    _, valid = distance([]).pairs(torch.tensor([-1, -1]), torch.tensor([-1]))
    assert valid.tolist() == [[False], [False]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_table_lives_where_the_codes_are():
    similarity, valid = distance(["eng", "deu"]).pairs(*torch.tensor([[0, 1], [1, 0]]).cuda())
    assert similarity.device.type == valid.device.type == "cuda"
