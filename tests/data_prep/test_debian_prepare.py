"""The Debian corpus from tiny .deb files in the layout of the real packages."""

import csv
import os
import stat
from collections import Counter

import numpy as np
import pytest
import soundfile
import tiny_debs

from data_prep import debian_prepare
from data_prep.common.trials import read_trials
from data_prep.debian import audio as debian_audio
from data_prep.debian.audio import convert
from data_prep.debian.packages import fetch_packages, find_package, unpack
from data_prep.debian.table import corpus_table
from data_prep.debian_prepare import PROTOCOLS, prepare_debian
from masr_modules.data.corpus import load_csv
from masr_modules.data.schema import METADATA_COLUMNS

SIDES = ("train", "valid", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The tiny corpus with the CSVs of all protocols."""
    folder = tiny_debs.make_packages(tmp_path_factory.mktemp("debian corpus é"))
    for protocol in PROTOCOLS:
        prepare_debian(str(folder), str(folder / protocol), protocol=protocol, skip_limit=0.1)
    return folder


def read(folder, *sides):
    rows = []
    for side in sides or SIDES:
        with open(folder / f"{side}.csv", encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    return rows


@pytest.fixture
def utterances(corpus):
    """ID -> row of everything, which the random split has."""
    return {row["ID"]: row for row in read(corpus / "random")}


def test_a_stamp_has_its_language_text_and_nominal_speaker(utterances):
    row = utterances["debian_tuxpaint_es_animals.cat_4"]
    expected = {
        "language": "spa",
        "language_label": "es",
        "family": "Indo-European",
        "region": "ES",
        "speaker": "tuxpaint_es",
        "source": "tuxpaint",
        "text": "gato gato gato gato gato 4",
        "licence": "GPL-2",
        "package": "tuxpaint-stamps-default",
    }
    assert {column: row[column] for column in expected} == expected
    assert float(row["duration"]) == pytest.approx(0.7, abs=0.01)
    assert row["gender"] == row["age"] == row["emotion"] == ""


def test_a_line_of_dialogue_has_its_character_and_level(utterances):
    row = utterances["debian_fillets_nl_wreck.v-1"]
    assert (row["speaker"], row["character"], row["level"]) == (
        "fillets_nl_small",
        "small",
        "wreck",
    )
    assert row["text"] == 'vis vis  "1"'
    assert utterances["debian_fillets_nl_wreck.v-2"]["speaker"] == "fillets_nl_big"


def test_a_prompt_has_its_voice_and_region(utterances):
    row = utterances["debian_asterisk_es_MX_digits.3"]
    assert (row["language"], row["region"]) == ("spa", "MX")
    assert (row["speaker"], row["gender"]) == ("asterisk_allison", "female")
    assert utterances["debian_asterisk_it_IT_digits.3"]["licence"] == "CC-BY-3.0"


def test_nothing_is_made_up_about_words_and_letters(utterances):
    row = utterances["debian_klettres_en_GB_word_2"]
    assert (row["language"], row["region"], row["source"]) == ("eng", "GB", "klettres")
    assert row["text"] == row["speaker"] == row["gender"] == ""
    assert set(METADATA_COLUMNS) < set(row)


def test_what_is_no_speech_or_cannot_be_used_is_left_out(utterances):
    counts = Counter((row["source"], row["language_label"]) for row in utterances.values())
    # 26 stamps and one with a wrong text; without noise, copy, broken, cut and mute ones.
    assert counts["tuxpaint", "es"] == 27 and counts["tuxpaint", "fr"] == 26
    # 24 lines without the click; 8 prompts without beep and silence; no synthetic voices (nn).
    assert counts["fillets", "cs"] == 24 and counts["asterisk", "ru_RU"] == 8
    assert {label for source, label in counts if source == "ktuberling"} == {"fr", "nl"}


def test_copies_are_dropped_and_kept_once(utterances):
    recordings = [row["recording"] for row in utterances.values()]
    assert len(recordings) == len(set(recordings))
    assert "debian_tuxpaint_es_animals.cat_3" in utterances
    assert "debian_tuxpaint_es_animals.copy" not in utterances


def test_a_copy_under_another_language_drops_both(tmp_path):
    same = tiny_debs.sound(0.5, 1)
    files = {f"usr/share/klettres/{label}/a.ogg": same for label in ("de", "da")}
    files |= tiny_debs.words("usr/share/klettres", ["es", "fr"], 9, 5)
    (tmp_path / "packages").mkdir()
    tiny_debs.make_deb(tmp_path / "packages/klettres-data_1_all.deb", files)
    prepare_debian(str(tmp_path), str(tmp_path / "csv"), ["klettres-data"], "random")
    assert {row["language"] for row in read(tmp_path / "csv")} == {"spa", "fra"}


def test_texts_that_do_not_fit_the_recordings_are_cleared(utterances):
    french = [row for row in utterances.values() if row["speaker"] == "tuxpaint_fr"]
    assert len(french) == 26 and not any(row["text"] for row in french)  # another stamp's text
    assert utterances["debian_tuxpaint_es_animals.wrong"]["text"] == ""
    assert utterances["debian_asterisk_en_US_digits.0"]["text"] == ""  # one text: not checked


def test_files_are_mono_16_khz_of_one_level(corpus, utterances):
    for name in ("debian_tuxpaint_es_animals.cat_4", "debian_asterisk_ru_RU_digits.1"):
        samples, rate = soundfile.read(utterances[name]["wav"].replace("$data_root", str(corpus)))
        assert rate == 16000 and samples.ndim == 1
        assert 20 * np.log10(np.sqrt(np.mean(samples**2))) == pytest.approx(-26, abs=0.2)


def test_source_disjoint_has_every_source_on_one_side(corpus):
    def values(column, side):
        return {row[column] for row in read(corpus / "source_disjoint", side)}

    assert values("source", "train") == {"tuxpaint", "fillets"}
    assert values("source", "valid") == {"klettres"}
    assert values("source", "test") == {"asterisk", "ktuberling"}
    # Trained are es, fr (stamps), cs and nl (game); Italian and English are not.
    assert values("language", "train") == {"spa", "fra", "ces", "nld"}
    assert values("language", "valid") == {"spa", "fra"}
    assert values("language", "test") == {"spa", "fra", "nld"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_recording_is_on_two_sides(corpus, protocol):
    sides = [{row["recording"] for row in read(corpus / protocol, side)} for side in SIDES]
    assert all(sides) and len(set.union(*sides)) == sum(map(len, sides))


def test_no_sentence_is_on_two_sides_of_the_random_splits(corpus):
    for protocol in ("random", "asr"):
        sides = [
            {row["sentence"] for row in read(corpus / protocol, side)} - {""} for side in SIDES
        ]
        assert len(set.union(*sides)) == sum(map(len, sides))


def test_asr_has_trusted_texts_alone(corpus):
    rows = read(corpus / "asr")
    assert all(row["text"] for row in rows)
    assert {row["language"] for row in rows} == {"spa", "ces", "nld"}


def test_trials_stay_within_source_and_language(corpus, tmp_path):
    folder = tmp_path / "speakers"
    prepare_debian(
        str(corpus),
        str(folder),
        test_sources=["fillets"],
        valid_sources=["klettres"],
        skip_limit=0.1,
    )
    rows = {row["ID"]: row for row in read(folder, "test")}
    trials = read_trials(str(folder / "trials_within_source.csv"))
    assert Counter(target for _, _, target in trials) == {1: 132, 0: 132}
    for a, b, target in trials:
        assert a != b and rows[a]["language"] == rows[b]["language"]
        assert (rows[a]["speaker"] == rows[b]["speaker"]) == target


def test_a_test_set_of_one_speaker_has_no_trials(corpus):
    assert (
        corpus / "source_disjoint/trials_within_source.csv"
    ).read_text() == "enrol,test,target\n"
    with pytest.raises(ValueError, match="no trial; .* two or more known speakers"):
        read_trials(str(corpus / "source_disjoint/trials_within_source.csv"))


def test_the_table_counts_every_utterance(corpus, utterances):
    table = corpus_table(
        [row | {"duration": float(row["duration"])} for row in utterances.values()]
    )
    assert f"| all      | {len(utterances)} " in table
    assert "klettres GPL-2+; ktuberling GPL-2+; tuxpaint GPL-2." in table


def test_the_csvs_load(corpus):
    rows = load_csv(corpus / "asr/train.csv", corpus)
    assert all(os.path.isfile(row["wav"]) for row in rows.values())


class Killed(Exception):
    """Stands for a kill."""


def test_too_many_broken_recordings_are_an_error(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"raise skip_limit\n.*tuxpaint: .*broken_desc_es.ogg"):
        prepare_debian(str(corpus), str(tmp_path / "csv"), skip_limit=0.001)


def test_interrupted_work_goes_on(tmp_path, monkeypatch):
    folder = tiny_debs.make_packages(tmp_path / "corpus")
    made = []

    def dying(*arguments):
        if len(made) == 30:
            raise Killed
        made.append(arguments[0])
        return convert(*arguments)

    monkeypatch.setattr(debian_prepare, "convert", dying)
    with pytest.raises(Killed):
        prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    assert not (folder / "csv").exists()
    monkeypatch.undo()
    decoded = []
    decode = debian_audio.decode
    monkeypatch.setattr(debian_audio, "decode", lambda path: decoded.append(path) or decode(path))
    prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    rows = read(folder / "csv")
    assert decoded and not set(made) & set(decoded)
    again = len(decoded)
    prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    assert len(decoded) == again  # complete: nothing is read
    (folder / "csv/prepare_settings.json").unlink()
    os.remove(rows[0]["wav"].replace("$data_root", str(folder)))
    prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    broken = 4  # broken, cut and mute ones are tried again, like the removed one
    assert len(decoded) - again == broken
    assert not [p for p in folder.rglob("*") if "tmp" in p.name or "partial" in p.name]


def test_a_member_that_leaves_the_folder_is_refused(tmp_path):
    for name in ("../../evil.wav", "/../evil.wav"):
        deb = tmp_path / "klettres-data_1_all.deb"
        tiny_debs.make_deb(deb, {name: b"x"})
        with pytest.raises(ValueError, match="klettres-data_1_all.deb.*refused"):
            unpack(str(deb), str(tmp_path / "inner/unpacked"))
    assert not list(tmp_path.rglob("evil.wav"))
    assert not (tmp_path / "inner/unpacked/klettres-data_1_all").exists()


def test_a_truncated_package_is_named(tmp_path):
    deb = tmp_path / "klettres-data_1_all.deb"
    tiny_debs.make_deb(deb, tiny_debs.words("usr/share/klettres", ["es"], 9, 5))
    deb.write_bytes(deb.read_bytes()[:-3000])
    with pytest.raises(ValueError, match="klettres-data_1_all.deb: cannot be unpacked.*again"):
        unpack(str(deb), str(tmp_path / "unpacked"))


def test_missing_packages_are_downloaded_with_apt(tmp_path, monkeypatch):
    tiny_debs.make_deb(tmp_path / "tiny.deb", {"a.txt": b"x"})
    apt = tmp_path / "bin/apt-get"
    apt.parent.mkdir()
    apt.write_text(f'#!/bin/sh\n/bin/cp "{tmp_path}/tiny.deb" "$4_2-1_all.deb"\n')
    apt.chmod(apt.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(apt.parent))
    packages = tmp_path / "packages"
    found = fetch_packages(["klettres-data"], str(packages))
    assert found == {"klettres-data": str(packages / "klettres-data_2-1_all.deb")}
    apt.unlink()
    assert fetch_packages(["klettres-data"], str(packages)) == found  # there already
    with pytest.raises(FileNotFoundError, match="ktuberling-data, and no apt-get"):
        fetch_packages(["ktuberling-data"], str(packages))


def test_the_failure_of_apt_is_told(tmp_path, monkeypatch):
    apt = tmp_path / "apt-get"
    apt.write_text('#!/bin/sh\necho "E: Unable to locate package" >&2\nexit 100\n')
    apt.chmod(apt.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="Unable to locate.*apt-get update"):
        fetch_packages(["klettres-data"], str(tmp_path / "packages"))
    assert not list((tmp_path / "packages").iterdir())


def test_several_versions_are_an_error(tmp_path):
    for version in ("1.9-1", "1.10-1"):
        (tmp_path / f"klettres-data_{version}_all.deb").touch()
    with pytest.raises(ValueError, match="several versions of klettres-data .*; keep one"):
        find_package("klettres-data", str(tmp_path))


def test_what_is_no_package_is_named(tmp_path):
    deb = tmp_path / "klettres-data_1_all.deb"
    for content in (b"<html>404", b"", b"!<arch>\n"):
        deb.write_bytes(content)
        with pytest.raises(ValueError, match="klettres-data_1_all.deb: cannot be unpacked.*again"):
            unpack(str(deb), str(tmp_path / "unpacked"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "shuffle"}, "'shuffle' is none of source_disjoint, random, asr"),
        ({"packages": ["klettres"]}, "klettres.*none of those known"),
        ({"test_sources": ["klettres"]}, "klettres: in test_sources and in valid_sources"),
        ({"test_sources": ["fillet"]}, "no utterance in test.*asterisk, fillets"),
    ],
)
def test_a_wrong_argument_says_what_is_right(corpus, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare_debian(str(corpus), str(tmp_path / "csv"), skip_limit=0.1, **arguments)
    assert not (tmp_path / "csv").exists()
