"""LanguageDistance: similarity of languages by URIEL+."""

import logging

import numpy as np
import pytest
import torch

from masr_modules.knowledge import LanguageDistance
from masr_modules.knowledge.language_distances import DISTANCE_KINDS, language_distances

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """An empty cache for the module, so that no test depends on the user's."""
    folder = tmp_path_factory.getbasetemp() / "knowledge_cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


def bound(vocabulary, **settings):
    source = LanguageDistance(**settings)
    source.bind(vocabulary)
    return source


def all_pairs(source, count):
    return source.pairs(torch.arange(count), torch.arange(count))


def test_similarity_is_one_minus_the_distance():
    codes = ["nob", "swe", "fin"]
    similarity, valid = all_pairs(bound(codes, kinds="genetic"), 3)
    expected = 1 - language_distances(codes, "genetic")
    np.testing.assert_allclose(similarity.numpy(), expected, atol=1e-6)
    assert similarity.dtype == torch.float32
    assert valid.all()


def test_same_language_has_similarity_one():
    similarity, _ = all_pairs(bound(["eng", "tur", "yor"]), 3)
    assert similarity.diagonal().tolist() == [1, 1, 1]


def test_labels_of_one_language_have_similarity_one():
    similarity, _ = all_pairs(bound(["sv_se", "swe"]), 2)
    assert similarity.tolist() == [[1, 1], [1, 1]]


def test_close_relatives_are_more_alike_than_strangers():
    similarity, _ = all_pairs(bound(["nob", "swe", "zul"]), 3)
    assert similarity[0, 1] > similarity[0, 2] + 0.2


def test_kinds_are_averaged():
    codes = ["eng", "fin"]
    kinds = ("genetic", "geographic")
    similarity, _ = all_pairs(bound(codes, kinds=kinds), 2)
    expected = 1 - sum(language_distances(codes, kind)[0, 1] for kind in kinds) / 2
    assert similarity[0, 1].item() == pytest.approx(expected, abs=1e-6)


def test_kind_that_is_not_known_for_a_pair_is_left_out_of_the_average():
    # Esperanto has a place, but no relatives.
    similarity, valid = all_pairs(bound(["epo", "eng"], kinds=("genetic", "geographic")), 2)
    expected = 1 - language_distances(["epo", "eng"], "geographic")[0, 1]
    assert valid[0, 1]
    assert similarity[0, 1].item() == pytest.approx(expected, abs=1e-6)


def test_missing_language_is_not_valid():
    source = bound(["eng", "deu"])
    similarity, valid = source.pairs(torch.tensor([-1, 0]), torch.tensor([0, -1, 1]))
    assert valid.tolist() == [[False] * 3, [True, False, True]]
    assert similarity[~valid].tolist() == [0, 0, 0, 0]


def test_artificial_language_is_not_valid_and_named_in_one_warning(caplog):
    with caplog.at_level(logging.WARNING):
        source = bound(["epo", "eng", "ina"], kinds="genetic")
    _, valid = all_pairs(source, 3)
    assert valid.tolist() == [[False] * 3, [False, True, False], [False] * 3]
    (record,) = caplog.records
    assert "'language'" in record.getMessage()
    assert "no genetic features of epo, ina" in record.getMessage()


def test_languages_that_are_all_known_give_no_warning(caplog):
    bound(["eng", "deu"], kinds="genetic")
    assert caplog.records == []


def test_label_without_a_language_is_an_error_that_says_what_to_do():
    message = "LanguageDistance on 'accent': label 'klingonese' in column 'accent'.*on_unknown"
    with pytest.raises(ValueError, match=message):
        bound(["eng", "klingonese"], column="accent")


def test_label_without_a_language_can_count_as_missing(caplog):
    source = bound(["klingonese", "eng"], kinds="genetic", on_unknown="missing")
    _, valid = all_pairs(source, 2)
    assert valid.tolist() == [[False, False], [False, True]]
    assert "klingonese" in caplog.text


@pytest.mark.parametrize("kinds", ["phonetic", ("genetic", "phonetic"), ()])
def test_unknown_kind_is_an_error_that_lists_the_known(kinds):
    with pytest.raises(ValueError, match=", ".join(DISTANCE_KINDS)):
        LanguageDistance(kinds=kinds)


def test_binding_the_same_vocabulary_again_costs_nothing(monkeypatch):
    source = bound(["eng", "deu"])
    before, _ = all_pairs(source, 2)
    monkeypatch.setattr("masr_modules.knowledge.language.language_distances", None)
    source.bind(["eng", "deu"])
    assert torch.equal(all_pairs(source, 2)[0], before)


def test_binding_another_vocabulary_replaces_the_first():
    source = bound(["eng", "deu"], kinds="genetic")
    first, _ = all_pairs(source, 2)
    source.bind(["eng", "fin"])
    second, _ = all_pairs(source, 2)
    assert first[0, 1] > 0
    assert second[0, 1] == 0


def test_column_without_any_label_can_be_bound():
    _, valid = bound([]).pairs(torch.tensor([-1, -1]), torch.tensor([-1]))
    assert valid.tolist() == [[False], [False]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_table_lives_where_the_codes_are():
    similarity, valid = bound(["eng", "deu"]).pairs(*torch.tensor([[0, 1], [1, 0]]).cuda())
    assert similarity.device.type == valid.device.type == "cuda"
