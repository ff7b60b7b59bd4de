"""Labels have one form wherever they are read; words for "not known" are told."""

import logging
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masr_modules.data.corpus import load_csv
from masr_modules.data.labels import clean_label, words_for_unknown
from masr_modules.data.metadata import MetadataTable

BLANKS = ["", " ", "  ", "\t", "\u00a0", "\u200b", "\ufeff", "\u3000", "\u2009", "\u2060"]


def read_labels(folder, column, cells):
    rows = [f"u{i},1.0,u{i}.wav,{cell}\n" for i, cell in enumerate(cells)]
    path = folder / "train.csv"
    path.write_text(f"ID,duration,wav,{column}\n" + "".join(rows), encoding="utf-8")
    return load_csv(path, "/x").column(column)


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_around_a_label_make_no_new_class(tmp_path, blank):
    cells = ["fra", f"fra{blank}", f"{blank}fra", f"{blank}fra{blank}{blank}", blank]
    assert read_labels(tmp_path, "language", cells) == ["fra"] * 4 + [""]


def test_forms_of_unicode_are_one_label(tmp_path):
    forms = [unicodedata.normalize(form, "español") for form in ("NFC", "NFD", "NFKD")]
    assert read_labels(tmp_path, "accent", forms) == ["español"] * 3
    assert read_labels(tmp_path, "text", forms) == ["español"] * 3


def test_pretraining_and_downstream_read_the_same_labels(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ID,duration,wav,speaker\na,1,a.wav,x \nb,1,b.wav,x\n")
    rows = load_csv(path, "/x")
    assert MetadataTable(rows).vocabulary("speaker") == ["x"]
    assert {row["speaker"] for row in rows.values()} == {"x"}


def test_names_of_files_keep_their_form_of_unicode(tmp_path):
    name = unicodedata.normalize("NFD", "é")
    path = tmp_path / "a.csv"
    path.write_text(f"ID,duration,wav\n {name} ,1,\u00a0{name}.wav \n", encoding="utf-8")
    assert {i: row["wav"] for i, row in load_csv(path, "/x").items()} == {name: f"/x/{name}.wav"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(), st.sampled_from(BLANKS), st.sampled_from(["NFC", "NFD"]))
def test_a_label_has_one_form_whatever_stands_around_it(label, blank, form):
    clean = clean_label(label)
    assert clean_label(clean) == clean == clean.strip()
    assert unicodedata.is_normalized("NFC", clean)
    assert clean_label(blank + unicodedata.normalize(form, clean) + blank) == clean


@pytest.mark.parametrize("word", ["nan", "NA", "N/A", "none", "unknown", "-", "?", "<unk>"])
def test_words_for_not_known_in_a_csv_are_counted_in_a_warning(tmp_path, caplog, word):
    with caplog.at_level(logging.WARNING):
        assert read_labels(tmp_path, "speaker", ["x", word, word])[1] == word
    assert f"column speaker holds {word!r} 2 times" in caplog.text


def test_min_nan_and_namibia_are_no_words_for_not_known(tmp_path, caplog):
    assert read_labels(tmp_path, "language", ["nan", "fra"]) == ["nan", "fra"]
    assert read_labels(tmp_path, "region", ["NA", "FR"]) == ["NA", "FR"]
    assert read_labels(tmp_path, "speaker", ["Na", "Nil"]) == ["Na", "Nil"]
    assert read_labels(tmp_path, "text", ["unknown", "no"]) == ["unknown", "no"]
    assert not caplog.records


def test_a_code_means_not_known_where_another_column_has_the_word():
    counts = {"language": {"nan": 2}, "speaker": {"nan": 5}, "text": {"nan": 1, "?": 1}}
    assert words_for_unknown(counts) == {
        "language": {"nan": 2},
        "speaker": {"nan": 5},
        "text": {"nan": 1},
    }
