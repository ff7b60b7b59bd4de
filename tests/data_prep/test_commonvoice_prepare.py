"""Common Voice in the layout of an unpacked release."""

import pytest
from trees import commonvoice_line, commonvoice_tree, read_splits, write_wav

from data_prep.common.checks import check_disjoint
from data_prep.common.corpus import language_cells
from data_prep.commonvoice.cells import AGES, sentence_key
from data_prep.commonvoice_prepare import prepare_commonvoice

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tmp_path):
    return commonvoice_tree(tmp_path / "cv-corpus-17.0 é")


def prepare(tree, **options):
    """Rows of each side."""
    prepare_commonvoice(str(tree), str(tree.parent / "csv"), **options)
    return read_splits(tree.parent / "csv")


def add(tree, table, locale, client, number, sentence, *cells, audio=True):
    """Appends a clip to a table."""
    with open(tree / locale / f"{table}.tsv", "a", encoding="utf-8") as file:
        file.write(commonvoice_line(locale, client, number, sentence, *cells) + "\n")
    if audio:
        write_wav(tree / locale / f"clips/common_voice_{locale}_{number}.mp3", sample_rate=32000)


def ids(rows, side="train"):
    return [row["ID"].removeprefix("commonvoice_") for row in rows[side]]


def test_a_row_holds_what_the_table_says(tree):
    expected = {
        "ID": "commonvoice_ca_common_voice_ca_0",
        "wav": "$data_root/ca/clips/common_voice_ca_0.mp3",
        "language": "cat",
        "language_label": "ca",
        "family": "Indo-European",
        "region": "ES",
        "speaker": "commonvoice_ca-anna",
        "gender": "female",
        "age": "45",
        "age_group": "fourties",
        "accent": "England English|Irish",
        "variant": "Central",
        "sentence_domain": "general|healthcare",
        "sentence_id": "id0",
        "text": 'Satz "0, der gilt',
    }
    row = prepare(tree)["train"][0]
    assert expected.items() <= row.items()
    assert float(row["duration"]) == pytest.approx(1.0, abs=0.1)


def test_ages_and_genders_in_old_and_new_spelling(tree):
    rows = {row["speaker"]: row for side in prepare(tree).values() for row in side}
    stated = {s[-4:]: (r["age"], r["gender"]) for s, r in rows.items() if "_de-" in s}
    assert stated == {
        "anna": ("45", "female"),
        "-ben": ("16", "male"),
        "cleo": ("", ""),  # declined
        "dora": ("25", "other"),
        "emil": ("95", "male"),
    }
    assert AGES["fourties"] == AGES["forties"]


def test_accents_are_sets_in_old_and_new_releases(tree):
    accents = {row["accent"] for row in prepare(tree, languages=["de"])["train"]}
    assert accents == {
        "England English|Irish",
        "India and South Asia (India, Pakistan)",
        "Scouse|calm",
    }


def test_locales_become_languages_and_keep_their_label(tree):
    rows = prepare(tree, languages=["zh-TW"])
    assert (rows["test"][0]["language_label"], rows["test"][0]["region"]) == ("zh-TW", "TW")
    assert rows["test"][0]["language"] == language_cells("cmn_hans_cn")["language"]  # as in FLEURS


def test_training_is_all_that_was_validated_without_dev_and_test(tree):
    rows = prepare(tree, languages=["de"])
    assert ids(rows) == [f"de_common_voice_de_{n}" for n in (0, 3, 4, 5)]
    assert ids(rows, "valid") == ["de_common_voice_de_1"]
    assert ids(rows, "test") == ["de_common_voice_de_2"]


def test_the_official_training_set_can_be_taken(tree):
    rows = prepare(tree, languages=["de"], train_from="train")
    assert ids(rows) == ["de_common_voice_de_0"]


def test_speakers_and_sentences_of_dev_and_test_are_left_out_of_training(tree, caplog):
    add(tree, "validated", "de", "de-ben", 10, "ein neuer Satz")
    add(tree, "validated", "de", "fritz", 11, 'SATZ "1, der gilt!')  # but for case and marks
    add(tree, "validated", "de", "fritz", 12, "noch ein neuer Satz")
    caplog.set_level("INFO")
    rows = prepare(tree, languages=["de"], skip_limit=0)
    assert ids(rows)[4:] == ["de_common_voice_de_12"]
    assert "protocol 1: speaker is also in dev or test" in caplog.text
    assert "protocol 1: sentence is also in dev or test" in caplog.text


def test_a_speaker_of_two_locales_is_on_one_side(tree):
    add(tree, "validated", "ca", "de-ben", 10, "una frase")
    add(tree, "dev", "ca", "de-cleo", 11, "una altra frase")
    rows = prepare(tree)
    check_disjoint(rows, ("speaker",))
    assert not any(i.endswith(("ca_10", "ca_11")) for side in rows for i in ids(rows, side))


def test_the_same_words_in_another_language_are_another_sentence(tree):
    rows = prepare(tree)
    check_disjoint(rows, ("language", "text"))
    assert {side: len(rows[side]) for side in rows} == {"train": 12, "valid": 3, "test": 3}


def test_sentences_of_marks_alone_are_told_apart():
    assert sentence_key("?!") != sentence_key("...")
    assert sentence_key("Straße") == sentence_key("STRASSE")


def test_old_releases_lack_columns_and_the_clips_ending(tmp_path):
    clips = tmp_path / "cv/de/clips"
    for number, table in enumerate(("validated", "dev", "test")):
        write_wav(clips / f"{number}.mp3", sample_rate=32000)
        cells = f"speaker{number}\t{number}\tSatz {number}\t2\t0\tthirties\tother\tbern"
        header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
        (tmp_path / f"cv/de/{table}.tsv").write_text(f"{header}\n{cells}\n")
    row = prepare(tmp_path / "cv")["train"][0]
    assert (row["age"], row["gender"], row["accent"], row["variant"]) == ("35", "other", "bern", "")


def test_crlf_bom_empty_and_malformed_lines(tree, caplog):
    table = tree / "de/validated.tsv"
    lines = [*table.read_bytes().splitlines(), b"", b"anna\tno more cells", b"\t" * 12]
    table.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    caplog.set_level("INFO")
    assert len(prepare(tree, skip_limit=0.1)["train"]) == 12
    assert "validated.tsv, line 9: 2 cells, expected 13" in caplog.text


def test_broken_audio_and_odd_cells(tree, caplog):
    add(tree, "validated", "de", "fritz", 10, "kein Ton", audio=False)
    add(tree, "validated", "de", "fritz", 11, "kaputt", "old", "unknown")
    (tree / "de/clips/common_voice_de_11.mp3").write_bytes(b"")
    add(tree, "validated", "de", "fritz", 12, "zweimal")
    add(tree, "validated", "de", "fritz", 12, "zweimal")
    add(tree, "validated", "de", "", 13, "niemand")
    write_wav(tree / "de/clips/extra é.mp3")
    caplog.set_level("INFO")
    assert len(prepare(tree, skip_limit=0.2)["train"]) == 13
    for reason in ("no such file", "empty file", "comes twice", "client_id is empty"):
        assert reason in caplog.text
    assert "'old'" in caplog.text and "'unknown'" in caplog.text
    assert "noted 19: sample rate 32000 Hz, resampled when read" in caplog.text


def test_a_path_outside_the_folder_is_refused(tree):
    table = tree / "de/validated.tsv"
    text = table.read_text().replace("common_voice_de_3.mp3", "../../../secret.mp3")
    table.write_text(text)
    with pytest.raises(ValueError, match=r"validated.tsv, line 5: '../../../secret.mp3' would"):
        prepare(tree)
    assert not list((tree.parent / "csv").glob("*"))


def test_a_table_without_a_column_is_named(tree):
    table = tree / "de/dev.tsv"
    table.write_text(table.read_text().replace("client_id", "speaker"))
    with pytest.raises(ValueError, match=r"de/dev.tsv, line 1: no column client_id"):
        prepare(tree)


def test_wrong_folders_say_what_is_expected_where(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="looks right: is it meant"):
        prepare_commonvoice(str(tree / "de"), str(tmp_path / "csv"))
    with pytest.raises(FileNotFoundError, match=r"fr/validated.tsv: table of the training set"):
        prepare(tree, languages=["fr"])


def test_a_locale_newer_than_the_registry_keeps_its_label(tree, caplog):
    caplog.set_level("INFO")
    (tree / "ca").rename(tree / "qqz")
    for path in (tree / "qqz/clips").iterdir():
        path.rename(path.with_name(path.name.replace("_ca_", "_qqz_")))
    for path in (tree / "qqz").glob("*.tsv"):
        path.write_text(path.read_text(encoding="utf-8").replace("_ca_", "_qqz_"), encoding="utf-8")
    rows = [row for row in prepare(tree)["train"] if row["language_label"] == "qqz"]
    assert rows and {row["language"] for row in rows} == {""}
    assert "locale names no known language" in caplog.text


def test_a_locale_without_validation_and_test_sets_still_trains(tree, caplog):
    caplog.set_level("INFO")
    before = len(prepare(tree)["train"])
    for table in ("dev", "test"):
        (tree / f"ca/{table}.tsv").unlink()
        (tree.parent / "csv/train.csv").unlink(missing_ok=True)
    rows = prepare(tree)
    assert len(rows["train"]) > before
    assert "ca" not in {row["language_label"] for row in rows["valid"]}
    assert "no such table" in caplog.text


def durations(tree, locale, numbers, milliseconds=4608):
    lines = [f"common_voice_{locale}_{n}.mp3\t{milliseconds}" for n in numbers]
    (tree / locale / "clip_durations.tsv").write_text("\n".join(["clip\tduration[ms]", *lines]))


def test_durations_come_from_the_releases_table(tree):
    durations(tree, "de", (0, 1, 2, 3, 4))
    rows = prepare(tree, languages=["de"])
    found = {i: float(r["duration"]) for i, r in zip(ids(rows), rows["train"], strict=True)}
    assert [found[f"de_common_voice_de_{n}"] for n in (0, 3, 4)] == [4.608] * 3
    # A clip that the table lacks, and the test set, are read.
    assert found["de_common_voice_de_5"] == pytest.approx(1.0, abs=0.1)
    assert float(rows["test"][0]["duration"]) == pytest.approx(1.0, abs=0.1)


def test_a_clip_with_a_duration_has_to_be_there(tree, caplog):
    durations(tree, "de", range(6))
    (tree / "de/clips/common_voice_de_3.mp3").unlink()
    caplog.set_level("INFO")
    rows = prepare(tree, languages=["de"], skip_limit=0.5)
    assert ids(rows) == [f"de_common_voice_de_{n}" for n in (0, 4, 5)]
    assert "audio: no such file ($data_root/de/clips/common_voice_de_3.mp3)" in caplog.text


def test_odd_durations_are_read_from_the_clip(tree, caplog):
    durations(tree, "de", range(6), "n/a")
    caplog.set_level("INFO")
    rows = prepare(tree, languages=["de"])
    assert float(rows["train"][0]["duration"]) == pytest.approx(1.0, abs=0.1)
    assert "no duration, read from the clip" in caplog.text


def test_a_release_without_the_validated_table_says_what_to_do(tree):
    (tree / "de/validated.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="taken with --train_from train"):
        prepare(tree, languages=["de"])
    assert prepare(tree, languages=["de"], train_from="train")["train"]


def test_a_delta_release_is_refused(tree):
    for table in tree.glob("*/*.tsv"):
        if table.stem in ("train", "dev", "test"):
            table.unlink()
    with pytest.raises(ValueError, match=r"no locale has test.tsv. A delta release"):
        prepare(tree)
    assert not (tree.parent / "csv").exists()


def test_a_table_that_changed_is_seen(tree):
    prepare(tree)
    add(tree, "validated", "de", "fritz", 12, "noch ein neuer Satz")
    assert "de_common_voice_de_12" in ids(prepare(tree))


def test_a_rerun_with_the_same_settings_does_nothing(tree, monkeypatch):
    rows = prepare(tree)
    monkeypatch.setattr("data_prep.commonvoice_prepare.read_release", None)
    assert prepare(tree) == rows
