"""Distances of languages: what URIEL+ says, and the cache of its tables."""

import logging
import random

import numpy as np
import pytest
from corpus_codes import ARTIFICIAL, FLEURS, VOXLINGUA107

from masr_modules.knowledge import language_distances as distances_module
from masr_modules.knowledge.language_distances import DISTANCE_KINDS, language_distances

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """An empty cache for the module, so that no test depends on the user's."""
    folder = tmp_path_factory.getbasetemp() / "language_cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    distances_module._table.cache_clear()
    yield tmp_path / "masr"
    distances_module._table.cache_clear()


def test_artificial_languages_have_no_genetic_distance():
    distances = language_distances(["epo", "ina", "eng"], "genetic")
    known = ~np.isnan(distances)
    assert known.tolist() == [[False] * 3, [False] * 3, [False, False, True]]


@pytest.mark.parametrize("kind", ["genetic", "geographic"])
def test_natural_languages_of_the_corpora_have_all_distances(kind):
    natural = [code for code in FLEURS + VOXLINGUA107 if code not in ARTIFICIAL]
    distances = language_distances(natural, kind)
    assert distances.shape == (102 + 105,) * 2
    assert np.all((distances >= 0) & (distances <= 1))  # no NaN


@pytest.mark.parametrize("kind", [k for k in DISTANCE_KINDS if k != "morphological"])
def test_diagonal_is_zero_and_table_symmetric(kind):
    distances = language_distances(["eng", "fra", "tur", "yor"], kind)
    assert np.all(distances.diagonal() == 0)
    np.testing.assert_array_equal(distances, distances.T)


def test_rows_follow_the_codes_given():
    ordered = language_distances(["fra", "eng", "fin", "eng"], "genetic")
    reverse = language_distances(["eng", "fin", "eng", "fra"], "genetic")
    np.testing.assert_array_equal(ordered, reverse[::-1, ::-1])
    assert ordered[1, 3] == 0


@pytest.mark.parametrize(
    ("code", "filed_as"), [("nob", "nor"), ("nno", "nor"), ("ekk", "est"), ("lvs", "lav")]
)
def test_language_without_phylogeny_is_looked_up_under_its_macrolanguage(code, filed_as):
    distances = language_distances([code, filed_as, "swe", "fin", "lit"], "genetic")
    np.testing.assert_array_equal(distances[0], distances[1])


@pytest.mark.parametrize("code", ["nor", "nob"])
def test_norwegian_is_close_to_swedish(code):
    assert language_distances([code, "swe"], "genetic")[0, 1] < 0.6


def test_fallback_is_decided_for_each_kind():
    # URIEL+ has a phylogeny and a place of cmn, but a script of zho only.
    script = language_distances(["cmn", "zho", "eng"], "script")
    np.testing.assert_array_equal(script[0], script[1])
    geographic = language_distances(["cmn", "zho"], "geographic")
    assert geographic[0, 1] > 0


def test_isolate_is_unrelated_to_all_others():
    distances = language_distances(["eus", "spa", "bsk"], "genetic")
    assert distances[0].tolist() == [0, 1, 1]


def test_pair_without_shared_features_is_not_known():
    distances = language_distances(["abk", "kea", "eng"], "featural")
    assert np.isnan(distances[0, 1])
    assert distances[0, 0] == distances[1, 1] == 0
    assert distances[0, 2] > 0


def test_language_without_features_is_not_known_even_to_itself():
    assert np.isnan(language_distances(["ast", "spa"], "featural")[0]).all()


def test_no_codes_give_an_empty_table():
    assert language_distances([], "genetic").shape == (0, 0)


def test_unknown_kind_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match="genetic.*script"):
        language_distances(["eng"], "phonetic")


@pytest.fixture(scope="module")
def uriel():
    from urielplus.urielplus import URIELPlus

    level = logging.root.manager.disable
    logging.disable(logging.INFO)  # it reports each distance
    yield URIELPlus()
    logging.disable(level)


@pytest.mark.parametrize("kind", [k for k in DISTANCE_KINDS if k != "morphological"])
def test_distances_equal_those_of_urielplus(kind, uriel):
    codes = [
        "eng",
        "deu",
        "rus",
        "hin",
        "fin",
        "tur",
        "jpn",
        "yor",
        "zul",
        "hau",
        "heb",
        "tgl",
        "ell",
    ]
    distances = language_distances(codes, kind)
    generator = random.Random(7)
    # URIEL+ takes a quarter of a second for one genetic distance.
    for _ in range(12 if kind == "genetic" else 50):
        a, b = generator.sample(range(len(codes)), 2)
        if np.isnan(distances[a, b]):
            with pytest.raises(ValueError, match="No shared"):
                uriel.new_distance(kind, [codes[a], codes[b]])
        else:
            expected = uriel.new_distance(kind, [codes[a], codes[b]])
            assert distances[a, b] == pytest.approx(expected, abs=1e-6)


# Cache


def test_table_is_read_from_the_cache_file(fresh_cache, monkeypatch):
    computed = language_distances(["eng", "deu"], "geographic")
    distances_module._table.cache_clear()
    monkeypatch.setattr(distances_module, "_compute_distances", None)
    np.testing.assert_array_equal(language_distances(["de", "en"], "geographic"), computed.T)
    assert len(list(fresh_cache.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "cut"])
def test_corrupt_cache_file_is_computed_again(fresh_cache, content):
    computed = language_distances(["eng", "deu"], "geographic")
    (file,) = fresh_cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    distances_module._table.cache_clear()
    np.testing.assert_array_equal(language_distances(["eng", "deu"], "geographic"), computed)
    assert file.read_bytes() == whole


def test_cache_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, fresh_cache):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert language_distances(["eng", "deu"], "geographic")[0, 1] > 0


def test_callers_cannot_change_the_cached_table():
    language_distances(["eng", "deu"], "geographic")[:] = 7
    assert language_distances(["eng", "deu"], "geographic").max() < 1
