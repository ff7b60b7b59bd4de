"""Codes, families, territories and places of languages."""

import pytest
from corpus_codes import ARTIFICIAL, COMMONVOICE, FLEURS, VOXLINGUA107

from masr_modules.knowledge.languages import (
    canonical_language,
    equivalents,
    language_family,
    language_lineage,
    language_place,
    language_region,
    resolve_language,
)

# Codes


def test_the_lists_hold_all_languages_of_the_corpora():
    assert (len(set(FLEURS)), len(set(VOXLINGUA107))) == (102, 107)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("en", "eng"),  # ISO 639-1
        ("eng", "eng"),  # ISO 639-3
        ("ger", "deu"),  # ISO 639-2, bibliographic
        ("est", "est"),  # a macrolanguage stays one
        ("ekk", "ekk"),
        ("nob", "nob"),  # an individual language is not replaced by its macrolanguage
        ("arb", "arb"),
        ("pt-BR", "por"),  # BCP-47
        ("zh-yue", "yue"),
        ("PT_br", "por"),
        ("cmn_hans_cn", "cmn"),  # FLEURS
        ("yue_hant_hk", "yue"),
        ("nb_no", "nob"),
        ("fil_ph", "fil"),
        ("ckb_iq", "ckb"),
        ("sd_in", "snd"),
        ("ny_mw", "nya"),
        ("es_419", "spa"),
        ("iw", "heb"),  # obsolete, in VoxLingua107
        ("jw", "jav"),
        ("tl", "tgl"),
        ("sh", "hbs"),
        ("hbs", "hbs"),
        ("sw-CD", "swa"),
    ],
)
def test_code_resolves_to_the_language_it_names(code, expected):
    assert resolve_language(code) == expected


@pytest.mark.parametrize("code", FLEURS + VOXLINGUA107 + COMMONVOICE)
def test_codes_of_the_corpora_resolve_to_three_letters(code):
    resolved = resolve_language(code)
    assert len(resolved) == 3
    assert resolve_language(resolved) == resolved


@pytest.mark.parametrize("code", ["xx", "english", "und", "mul", "zxx", "roa", "qaa", "en-", ""])
def test_code_without_a_language_is_an_error_that_names_it(code):
    with pytest.raises(ValueError, match=f"'{code}' names no language"):
        resolve_language(code)


def test_two_codes_of_the_corpora_that_mean_one_language_give_one_code():
    codes = {canonical_language(code) for code in FLEURS + VOXLINGUA107 + COMMONVOICE}
    pairs = {(iso, near) for iso in codes for near in equivalents(iso)[1:2] if near in codes}
    # Indonesian and Latgalian are members of Malay and Latvian, and not what these names mean.
    assert pairs == {("ind", "msa"), ("ltg", "lav")}
    for names in (
        "zh zh-CN zh-TW cmn_hans_cn",
        "zh-HK yue yue_hant_hk",
        "no nb_no nb",
        "tl fil_ph",
    ):
        assert len({canonical_language(name) for name in names.split()}) == 1, names


@pytest.mark.parametrize("code", FLEURS + VOXLINGUA107 + COMMONVOICE)
def test_the_code_that_corpora_share_stays_what_it_is(code):
    shared = canonical_language(code)
    assert canonical_language(shared) == shared


# Families and territories


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("en", "Indo-European"),
        ("nob", "Indo-European"),
        ("et", "Uralic"),  # filed under its member ekk
        ("zh", "Sino-Tibetan"),
        ("ar", "Afro-Asiatic"),
        ("sw_ke", "Atlantic-Congo"),
        ("ms", "Austronesian"),
        ("eu", "Basque"),  # an isolate is its own family
    ],
)
def test_family_is_the_top_level_one(code, family):
    assert language_family(code) == family


@pytest.mark.parametrize("code", ["eo", "ia"])
def test_artificial_language_has_no_family(code):
    assert language_family(code) is None
    assert language_lineage(code) == ()


def test_lineage_goes_from_the_top_level_family_to_the_closest():
    swedish, danish = language_lineage("sv"), language_lineage("da")
    assert swedish[0] == danish[0] == "Indo-European"
    assert swedish.index("Germanic") == danish.index("Germanic") == 2
    assert "North Scandinavian" in swedish and "South Scandinavian" in danish
    assert language_lineage("eu") == ("Basque",)


def test_every_natural_language_of_the_corpora_has_a_family():
    natural = set(FLEURS + VOXLINGUA107) - ARTIFICIAL
    assert [code for code in natural if language_family(code) is None] == []


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("pt_br", "BR"),
        ("pt_pt", "PT"),
        ("sd_in", "IN"),
        ("en-UK", "GB"),  # not ISO 3166, but what is meant is clear
        ("cmn", "CN"),
        ("nob", "NO"),
        ("pa-Arab", "PK"),
        ("pa", "IN"),
        ("iw", "IL"),
    ],
)
def test_region_is_the_codes_own_or_the_likely_one(code, region):
    assert language_region(code) == region


@pytest.mark.parametrize("code", ["es_419", "eo", "kgg"])  # Kusunda: not in CLDR
def test_region_is_none_where_no_single_territory_is_known(code):
    assert language_region(code) is None


@pytest.mark.parametrize("code", FLEURS + VOXLINGUA107)
def test_every_language_of_the_corpora_has_a_place(code):
    latitude, longitude = language_place(code)
    assert -90 <= latitude <= 90 and -180 <= longitude <= 180
