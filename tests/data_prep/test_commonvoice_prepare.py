"""Common Voice in the layout of an unpacked release."""

from collections import defaultdict

import pytest
from people import corpus_of_people
from trees import add_commonvoice_clip as add
from trees import commonvoice_tree, only_validated, read_splits, write_wav

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
    with pytest.raises(FileNotFoundError, match="looks right; did you mean it"):
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
    with pytest.raises(FileNotFoundError, match="--train_from train takes"):
        prepare(tree, languages=["de"])
    assert prepare(tree, languages=["de"], train_from="train")["train"]


def speakers_by_locale(rows):
    """Locale -> side -> its speakers."""
    found = defaultdict(lambda: defaultdict(set))
    for side, members in rows.items():
        for row in members:
            found[row["language_label"]][side].add(row["speaker"])
    return found


def test_a_delta_release_is_refused(tree):
    delta = tree.rename(tree.parent / "cv-corpus-13.0-Delta-2023-03-09")
    with pytest.raises(ValueError, match=r"no locale has test.tsv. A delta release"):
        prepare(only_validated(delta))
    assert not (tree.parent / "csv").exists()


def test_validated_clips_alone_are_divided_by_speaker_within_each_locale(tree):
    rows = prepare(only_validated(tree))
    check_disjoint(rows, ("speaker",))
    found = speakers_by_locale(rows)
    # German and Catalan have 13 speakers each: .15 of them are two, .35 are five.
    for locale in ("de", "ca"):
        assert [len(found[locale][side]) for side in rows] == [6, 2, 5]


def test_a_locale_of_few_speakers_trains_and_is_named(tree, caplog):
    caplog.set_level("INFO")
    assert set(speakers_by_locale(prepare(only_validated(tree)))["zh-TW"]) == {"train"}
    assert "1 of 3 locales have too few speakers to be in valid and test (zh-TW: 5)" in caplog.text


def test_locales_of_few_speakers_alone_cannot_be_split(tree):
    only_validated(tree)
    with pytest.raises(ValueError, match=r"cv-corpus-17.0 é, zh-TW: three splits need 6 groups"):
        prepare(tree, languages=["zh-TW"])


def test_shares_and_the_seed_of_an_own_split(tree):
    only_validated(tree)
    first = prepare(tree, valid_share=0.4, test_share=0.2)
    assert [len(speakers_by_locale(first)["de"][side]) for side in first] == [5, 5, 3]
    assert prepare(tree, valid_share=0.4, test_share=0.2, split_seed=1) != first


def test_another_locale_moves_no_speaker(tree):
    every = speakers_by_locale(prepare(only_validated(tree)))
    assert speakers_by_locale(prepare(tree, languages=["de"]))["de"] == every["de"]


def test_a_speaker_of_two_locales_is_on_one_side_of_an_own_split(tree):
    only_validated(tree)
    for number in range(10, 18):
        add(tree, "validated", "ca", f"de-{number}", 50 + number, f"frase {number}")
    rows = prepare(tree)
    check_disjoint(rows, ("speaker",))
    assert sum(len(members) for members in rows.values()) == 58  # 15 + 2 * 16 + 8, none left out


def test_a_sentence_is_in_one_side_of_an_own_split(tree, caplog):
    caplog.set_level("INFO")
    for number in range(20, 28):
        add(tree, "validated", "de", f"fritz{number}", number, "Jeder liest das!")
    rows = prepare(only_validated(tree, 0))
    check_disjoint(rows, ("language", "text"))
    assert "sentence is also in dev or test" in caplog.text


def test_what_is_odd_is_counted_once_where_a_table_is_read_thrice(tree, caplog):
    caplog.set_level("INFO")
    only_validated(tree)
    add(tree, "validated", "de", "", 90, "niemand")
    add(tree, "validated", "de", "de-anna", 91, "kein Ton", audio=False)
    add(tree, "validated", "de", "emil", 20, "Nummer 20")  # a clip of another speaker
    prepare(tree, skip_limit=0.1)
    for reason in ("client_id is empty", "audio: no such file", "clip comes twice in the table"):
        assert f"left out 1 of 53: {reason}" in caplog.text


def test_durations_of_what_an_own_split_evaluates_on_are_read(tree):
    only_validated(tree)
    durations(tree, "de", range(40))
    rows = prepare(tree, languages=["de"])
    assert {float(row["duration"]) for row in rows["train"]} == {4.608}
    for row in rows["valid"] + rows["test"]:
        assert float(row["duration"]) == pytest.approx(1.0, abs=0.1)


def test_locales_asked_for_without_official_splits_are_an_error(tree):
    for table in ("dev", "test"):
        (tree / f"ca/{table}.tsv").unlink()
    with pytest.raises(ValueError, match=r"test.tsv is in none of the locales ca: unpack"):
        prepare(tree, languages=["ca"])


def test_a_sample_of_recordings_has_its_languages_in_every_split(tmp_path):
    folder = corpus_of_people("cv-corpus-6.1-sample")
    prepare_commonvoice(str(folder), str(tmp_path), num_workers=1)
    rows = read_splits(tmp_path)
    check_disjoint(rows, ("speaker",))
    check_disjoint(rows, ("language", "text"))
    found = speakers_by_locale(rows)
    assert {code for code in found if set(found[code]) == {"train"}} == {"ab", "vot"}
    assert sum(set(sides) == set(rows) for sides in found.values()) == 57
    for side in ("valid", "test"):
        assert all(len(sides[side]) >= 2 for sides in found.values() if len(sides) > 1)
    every = [row for side in rows.values() for row in side]
    assert all(row["wav"].endswith(".opus") and float(row["duration"]) > 0.5 for row in every)
    known = {column: sum(bool(row[column]) for row in every) for column in ("age", "gender")}
    assert all(0.75 < number / len(every) < 0.8 for number in known.values())


def test_a_table_that_changed_is_seen(tree):
    prepare(tree)
    add(tree, "validated", "de", "fritz", 12, "noch ein neuer Satz")
    assert "de_common_voice_de_12" in ids(prepare(tree))


def test_a_rerun_with_the_same_settings_does_nothing(tree, monkeypatch):
    rows = prepare(tree)
    monkeypatch.setattr("data_prep.commonvoice_prepare.read_release", None)
    assert prepare(tree) == rows
