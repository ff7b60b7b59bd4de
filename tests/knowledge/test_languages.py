"""Codes, families, territories and distances of languages."""

import logging
import random

import numpy as np
import pytest

from masr_modules.knowledge import language_distances as distances_module
from masr_modules.knowledge.language_distances import DISTANCE_KINDS, language_distances
from masr_modules.knowledge.languages import (
    canonical_language,
    equivalents,
    language_family,
    language_lineage,
    language_place,
    language_region,
    resolve_language,
)

FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn
cs_cz cy_gb da_dk de_de el_gr en_us es_419 et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es
gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id ig_ng is_is it_it ja_jp jv_id ka_ge kam_ke
kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd lo_la lt_lt luo_ke lv_lv mi_nz mk_mk
ml_in mn_mn mr_in ms_my mt_mt my_mm nb_no ne_np nl_nl nso_za ny_mw oc_fr om_et or_in pa_in
pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in
tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
""".split()  # noqa: SIM905

VOXLINGUA107 = """
ab af am ar as az ba be bg bn bo br bs ca ceb cs cy da de el en eo es et eu fa fi fo fr gl gn
gu gv ha haw hi hr ht hu hy ia id is it iw ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml
mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sco sd si sk sl sn so sq sr su sv sw ta te
tg th tk tl tr tt uk ur uz vi war yi yo zh
""".split()  # noqa: SIM905

COMMONVOICE = """
ab af am ar as ast az ba bas be bg bn br bxr ca ckb cnh cs cv cy da dag dav de dsb dv dyu el en eo
es et eu fa fi fr fy-NL ga-IE gl gn ha he hi hsb ht hu hy-AM ia id ig is it ja ka kab kk kln kmr ko
ky lg lij lo lt ltg luo lv mdf mhr mk ml mn mr mrj mt myv nan-tw ne-NP nhi nl nn-NO nso oc or os
pa-IN pl ps pt quy rm-sursilv rm-vallader ro ru rw sah sat sc sk skr sl sq sr st sv-SE sw ta te th
ti tig tk tn tok tr ts tt tw ug uk ur uz ve vi vot xh yi yo yue zgh zh-CN zh-HK zh-TW zu zza
""".split()  # noqa: SIM905

ARTIFICIAL = {"eo", "ia"}


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


# Distances


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


@pytest.mark.parametrize("code", FLEURS + VOXLINGUA107)
def test_every_language_of_the_corpora_has_a_place(code):
    latitude, longitude = language_place(code)
    assert -90 <= latitude <= 90 and -180 <= longitude <= 180


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
