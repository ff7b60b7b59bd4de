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
from data_prep.common.skips import SkipRegister
from data_prep.common.trials import read_trials
from data_prep.debian import audio as debian_audio
from data_prep.debian.audio import convert
from data_prep.debian.clips import Clip
from data_prep.debian.packages import fetch_packages, find_package, unpack
from data_prep.debian_prepare import convert_clips, prepare_debian, write_tasks
from masr_modules.data.corpus import load_csv
from masr_modules.data.schema import METADATA_COLUMNS

pytestmark = pytest.mark.slow

SIDES = ("train", "valid", "test")
TASKS = ("pretrain", "asr", "speaker")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The tiny corpus with its CSVs."""
    folder = tiny_debs.make_packages(tmp_path_factory.mktemp("debian corpus é"))
    prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    return folder


def read(folder, *sides):
    rows = []
    for side in sides or SIDES:
        with open(folder / f"{side}.csv", encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    return rows


@pytest.fixture
def utterances(corpus):
    """ID -> row of everything that some task has."""
    return {row["ID"]: row for task in TASKS for row in read(corpus / "csv" / task)}


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


def test_a_line_of_dialogue_has_its_lead(utterances):
    row = utterances["debian_fillets_nl_wreck.v-1"]
    assert row["speaker"] == "fillets_nl_small"
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
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(0, 0.1, 8000), 16000)
    klettres = debian_prepare.PACKAGES["klettres-data"]
    clips = [Clip(klettres, str(tmp_path / "a.wav"), label, label) for label in ("de", "da", "de")]
    skips = SkipRegister()
    assert convert_clips(clips, str(tmp_path), skips) == []
    assert skips.excluded == {"klettres: copy under another language": 3}
    assert len(convert_clips(clips[::2], str(tmp_path), skips)) == 1


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


def test_pretraining_hears_nothing_that_another_task_validates_or_tests_on(corpus):
    heard = read(corpus / "csv/pretrain", "train")
    kept = [row for task in ("asr", "speaker") for row in read(corpus / "csv" / task, *SIDES[1:])]
    assert {row["source"] for row in heard} == {"tuxpaint", "klettres", "ktuberling"}
    for column in ("ID", "recording", "sentence"):
        assert not {row[column] for row in heard} & {row[column] for row in kept}


def test_what_pretraining_would_hear_is_an_error(tmp_path, monkeypatch):
    row = {"ID": "a", "sentence": "s", "recording": "r"}
    nothing = {side: [] for side in SIDES}
    tasks = {"pretrain": {**nothing, "train": [row]}, "asr": {**nothing, "test": [row]}}
    monkeypatch.setattr(debian_prepare, "split_tasks", lambda _: {**tasks, "speaker": nothing})
    with pytest.raises(AssertionError, match="sentence 's' is in both pretrain/train and"):
        write_tasks(str(tmp_path), [row], {})


@pytest.mark.parametrize("task", TASKS)
def test_no_recording_and_no_sentence_is_on_two_sides(corpus, task):
    for column in ("recording", "sentence"):
        sides = [{row[column] for row in read(corpus / "csv" / task, side)} for side in SIDES]
        assert all(sides) and len(set.union(*sides)) == sum(map(len, sides))


def test_recognition_has_trusted_texts_alone(corpus):
    rows = read(corpus / "csv/asr")
    assert all(row["text"] for row in rows)
    assert {row["language"] for row in rows} == {"spa", "ces", "nld"}


def test_verification_is_tested_on_the_leads_within_a_language(corpus):
    voices = {s: {row["speaker"] for row in read(corpus / "csv/speaker", s)} for s in SIDES}
    assert voices["train"] == {"tuxpaint_es", "tuxpaint_fr"}
    strangers = {"asterisk_allison", "asterisk_june", "asterisk_carlo", "asterisk_ivrvoiceru"}
    assert voices["valid"] - voices["train"] == strangers and voices["valid"] & voices["train"]
    rows = {row["ID"]: row for row in read(corpus / "csv/speaker", "test")}
    trials = read_trials(str(corpus / "csv/speaker/trials_within_language.csv"))
    assert Counter(target for _, _, target in trials) == {1: 264, 0: 264}
    for a, b, target in trials:
        assert a != b and rows[a]["language"] == rows[b]["language"]
        assert (rows[a]["speaker"] == rows[b]["speaker"]) == target


def test_the_csvs_load(corpus):
    rows = load_csv(corpus / "csv/asr/train.csv", corpus)
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
    rows = read(folder / "csv/pretrain")
    assert decoded and not set(made) & set(decoded)
    again = len(decoded)
    prepare_debian(str(folder), str(folder / "csv"), skip_limit=0.1)
    assert len(decoded) == again  # complete: nothing is read
    (folder / "csv/pretrain/prepare_settings.json").unlink()
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
