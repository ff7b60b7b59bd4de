"""Geographic: similarity of places, and where languages and territories are."""

import math

import pytest
import torch
from label_sources import all_pairs, corpus_of

from masr_modules.knowledge import Geographic
from masr_modules.knowledge.languages import language_place
from masr_modules.knowledge.territories import territory_place


def kilometres(a, b):
    """Great-circle distance by the spherical law of cosines."""
    (p, x), (q, y) = (tuple(map(math.radians, place)) for place in (a, b))
    cosine = math.sin(p) * math.sin(q) + math.cos(p) * math.cos(q) * math.cos(x - y)
    return 6371.0088 * math.acos(cosine)


def geographic(labels, column="language", **settings):
    return Geographic(column, metadata=corpus_of(column, labels), **settings)


def test_similarity_falls_with_the_distance_on_the_globe():
    similarity, valid = all_pairs(geographic(["swe", "fin"], length_scale=500))
    distance = kilometres((59.800634, 17.389526), (64.7628, 25.5577))  # as in URIEL+
    assert 600 < distance < 750
    assert similarity[0, 1].item() == pytest.approx(math.exp(-distance / 500), rel=1e-4)
    assert similarity.diagonal().tolist() == [1, 1] and valid.all()


def test_labels_of_one_language_are_at_one_place():
    similarity, _ = all_pairs(geographic(["sv_se", "swe"]))
    assert similarity.tolist() == [[1, 1], [1, 1]]


def test_the_globe_is_round():
    # Fiji and Samoa lie on both sides of 180 degrees.
    similarity, _ = all_pairs(geographic(["FJ", "WS"], column="region", kind="region"))
    assert similarity[0, 1] > math.exp(-1.3)


@pytest.mark.parametrize("code", ["est", "ara", "zho", "nob", "msa"])
def test_a_macrolanguage_and_its_members_share_a_place_where_one_has_none(code):
    assert language_place(code) is not None


def test_longer_scale_makes_more_alike():
    near, _ = all_pairs(geographic(["DE", "FR"], column="region", kind="region", length_scale=100))
    far, _ = all_pairs(geographic(["DE", "FR"], column="region", kind="region", length_scale=9000))
    assert near[0, 1] < 0.01 < 0.9 < far[0, 1]


@pytest.mark.parametrize(
    ("territory", "place"),
    [
        ("ES", (40.4, -3.68)),  # the mainland's zone alone: 40 degrees 24', -3 degrees 41'
        ("de", (52.5, 13.37)),  # "most of Germany"
        ("JP", (35.654, 139.745)),  # one zone, given in seconds: 35 39 16, 139 44 41
    ],
)
def test_a_territory_is_at_its_main_time_zone(territory, place):
    assert territory_place(territory) == pytest.approx(place, abs=0.01)


def test_a_territory_of_several_zones_is_at_their_centre():
    # Kinshasa (-4.3, 15.3) and Lubumbashi (-11.667, 27.467): two points, the middle of the arc.
    west, east = (-4.3, 15.3), (-11.66667, 27.46667)
    middle = territory_place("CD")
    assert kilometres(middle, west) == pytest.approx(kilometres(middle, east), rel=1e-4)
    assert kilometres(west, east) == pytest.approx(2 * kilometres(middle, east), rel=1e-4)


@pytest.mark.parametrize("code", ["XX", "DEU", "Germany", "419"])
def test_a_label_that_is_no_territory_names_source_column_and_label(code):
    message = f"Geographic on 'region': label '{code}' in column 'region'.*ISO 3166.*on_unknown"
    with pytest.raises(ValueError, match=message):
        geographic(["DE", code], column="region", kind="region")


def test_a_label_that_is_no_language_names_source_column_and_label():
    with pytest.raises(ValueError, match="Geographic on 'home': label 'xx' in column 'home'"):
        geographic(["swe", "xx"], column="home")


def test_unknown_labels_can_count_as_missing(caplog):
    source = geographic(["swe", "xx"], on_unknown="missing")
    similarity, valid = source.pairs(torch.tensor([0, 1, -1]), torch.tensor([0, 1, -1]))
    assert valid.tolist() == [[True, False, False], [False] * 3, [False] * 3]
    assert similarity.tolist() == [[1, 0, 0], [0] * 3, [0] * 3]
    assert "Geographic on 'language': nothing is known of xx" in caplog.text


@pytest.mark.parametrize("length_scale", [0, -1, math.nan, math.inf, "far"])
def test_length_scale_must_be_above_zero(length_scale):
    with pytest.raises(ValueError, match="Geographic on 'language': length_scale"):
        Geographic(length_scale=length_scale)


def test_kind_must_be_known():
    with pytest.raises(ValueError, match="kind must be one of language, region, got 'city'"):
        Geographic("city", kind="city")
