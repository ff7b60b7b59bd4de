"""The mini corpus on a small scale: some 40 seconds of three languages."""

import ast
import csv
import hashlib
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.common.checks import check_disjoint
from data_prep.mini import corpus as mini_corpus
from data_prep.mini import espeak_synthesis, espeak_worker
from data_prep.mini.plan import SPLITS, TIME_SHARES, make_job
from data_prep.mini.text import sentences
from data_prep.mini.vocabulary import (
    check_languages,
    has_digits,
    supported_languages,
    vocabulary,
)
from data_prep.mini.voices import CLOSE_VARIANTS, EMOTIONS, load_voices, split_speakers
from data_prep.mini_prepare import prepare_mini
from masr_modules.data.schema import AUDIO_COLUMNS, METADATA_COLUMNS

pytestmark = pytest.mark.slow

LANGUAGES = ["fr", "hi", "ru"]
HOURS = 0.012


def prepare(folder, languages=LANGUAGES, hours=HOURS, seed=7, num_workers=2):
    prepare_mini(str(folder), str(folder / "csv"), languages, hours, seed, num_workers)


def read_rows(folder):
    rows = {}
    for side in SPLITS:
        with open(folder / "csv" / f"{side}.csv", encoding="utf-8", newline="") as file:
            rows[side] = list(csv.DictReader(file))
    return rows


def hash_files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.wav"))
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    prepare(folder)
    return folder


def test_same_bytes_with_other_workers_and_order(corpus, tmp_path):
    prepare(tmp_path, languages=LANGUAGES[::-1], num_workers=1)
    assert hash_files(tmp_path) == hash_files(corpus)
    first, second = read_rows(corpus), read_rows(tmp_path)
    for side in SPLITS:
        assert sorted(first[side], key=lambda row: row["ID"]) == sorted(
            second[side], key=lambda row: row["ID"]
        )


def test_order_of_jobs_does_not_matter(tmp_path):
    jobs = [
        make_job(
            f"{variant} {number}", "fr", variant, "mille neuf cent un", EMOTIONS["sad"], number
        )
        for variant in ("f2", "f3", "m3", "whisper")  # breathy voices draw random numbers
        for number in range(3)
    ]

    def speak(jobs, folder):
        folder.mkdir()
        paths = {job["id"]: f"{folder}/{job['id']}.wav" for job in jobs}
        _, errors = espeak_synthesis.synthesise(jobs, paths, 2, lambda: None)
        assert not errors
        return hash_files(folder)

    shuffled = random.Random(1).sample(jobs, len(jobs))
    assert speak(jobs, tmp_path / "a") == speak(shuffled, tmp_path / "b")


def test_a_larger_corpus_keeps_the_smaller_ones_utterances(corpus, tmp_path):
    prepare(tmp_path, languages=["fr"], hours=2 * HOURS / 3)  # twice as much French
    small = {n: h for n, h in hash_files(corpus).items() if n.startswith("wav/fr/")}
    large = hash_files(tmp_path)
    assert len(large) > len(small)
    assert small.items() <= large.items()


def test_rows_have_every_column_and_true_durations(corpus):
    for rows in read_rows(corpus).values():
        assert {row["language_label"] for row in rows} == set(LANGUAGES)
        for row in rows:
            assert set(row) == {*AUDIO_COLUMNS, *METADATA_COLUMNS}
            path = row["wav"].replace("$data_root", str(corpus))
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert float(row["duration"]) == info.duration
            assert row["gender"] in ("female", "male", "")
            assert row["emotion"] in EMOTIONS
            assert row["age"] == row["accent"] == row["valence"] == ""
            assert row["ID"].startswith(f"mini_{row['language_label']}_")
    codes = {row["language_label"]: row["language"] for row in rows}
    assert codes == {"fr": "fra", "hi": "hin", "ru": "rus"}


def test_total_time_is_about_what_was_asked_for(corpus):
    rows = read_rows(corpus)
    hours = {side: sum(float(r["duration"]) for r in rows[side]) / 3600 for side in rows}
    assert hours["train"] == pytest.approx(TIME_SHARES["train"] * HOURS, rel=0.25)
    assert hours["test"] > 0 and hours["valid"] > 0  # one utterance a language, at the least


def test_speakers_and_sentences_of_the_sides_differ(corpus):
    rows = read_rows(corpus)
    check_disjoint(rows, ("language", "text"))
    labelled = rows.pop("labelled")
    check_disjoint(rows, ("speaker",))
    check_disjoint({"labelled": labelled, **{s: rows[s] for s in ("valid", "test")}}, ("speaker",))
    assert labelled and {row["language"] for row in labelled} == {"fra", "hin", "rus"}


def test_a_shared_speaker_is_named():
    sides = {"train": [{"speaker": "espeak_f2"}], "test": [{"speaker": "espeak_f2"}]}
    with pytest.raises(AssertionError, match="espeak_f2.*both train and test"):
        check_disjoint(sides, ("speaker",))


@pytest.mark.parametrize("seed", range(5))
def test_close_variants_stay_together(seed):
    sides = split_speakers(seed)
    side_of = {voice.variant: side for side, voices in sides.items() for voice in voices}
    assert len(side_of) == len(load_voices()) >= 60
    close_by_design = [("m2", "m6"), ("f2", "f5"), ("f3", "f4"), ("f1", "f2"), ("m4", "croak")]
    for close in (*CLOSE_VARIANTS, *close_by_design):
        assert len({side_of[name] for name in close}) == 1, close
    for voices in sides.values():
        assert {"female", "male"} <= {voice.gender for voice in voices}
    assert len(sides["train"]) / len(side_of) == pytest.approx(0.56, abs=0.06)
    assert len(sides["test"]) >= 25


def test_no_digits_in_any_language():
    assert len(supported_languages()) >= 40
    for code in supported_languages():
        texts = list(islice(sentences(code, 3, 0.07), 25))
        assert len({text.casefold() for text in texts}) == 25
        for text in texts:
            assert not has_digits(text), (code, text)


def test_digits_of_all_scripts_are_seen():
    assert all(map(has_digits, ["a1", "५", "٣", "½", "²", "Ⅳ"]))
    assert not has_digits("दो, deux")


def test_words_do_not_depend_on_the_languages_loaded_before():
    """Babel leaks resolved aliases (Azeri months) into locales that are loaded later."""
    vocabulary.cache_clear()
    vocabulary("az")
    after = vocabulary("fi").names
    script = "from data_prep.mini.vocabulary import vocabulary; print(vocabulary('fi').names)"
    alone = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert alone.stdout.strip() == str(after)


def test_resumes_after_partial_deletion(corpus, monkeypatch):
    before = hash_files(corpus)
    lost = sorted(corpus.rglob("*.wav"))[:2]
    kept = sorted(corpus.rglob("*.wav"))[2:]
    times = {path: path.stat().st_mtime_ns for path in kept}
    lost[0].unlink()
    lost[1].write_bytes(lost[1].read_bytes()[:20])  # cut short
    (corpus / "csv" / "valid.csv").unlink()
    prepare(corpus)
    assert hash_files(corpus) == before
    assert times == {path: path.stat().st_mtime_ns for path in kept}
    assert not list(corpus.rglob("*.tmp"))
    # complete: nothing is planned or spoken any more
    monkeypatch.setattr(mini_corpus, "plan_corpus", None)
    prepare(corpus)


def test_other_settings_are_not_reused(tmp_path):
    prepare(tmp_path, languages=["fr"], hours=0.003, seed=1)
    first = read_rows(tmp_path)
    prepare(tmp_path, languages=["fr"], hours=0.003, seed=2)
    second = read_rows(tmp_path)
    assert {r["text"] for r in first["train"]} != {r["text"] for r in second["train"]}
    prepare(tmp_path, languages=["fr"], hours=0.003, seed=1)
    assert read_rows(tmp_path) == first


def test_unknown_language_lists_the_possible_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown language xx, xyz;.* fr .* ru "):
        prepare(tmp_path, languages=["fr", "xx", "xyz"])
    assert not list(tmp_path.iterdir())


def test_codes_of_iso_639_3_are_those_of_the_engine():
    assert check_languages(["fra", "fr", "nob", "cmn", "zho"]) == ("fr", "nb", "zh")


def test_a_macrolanguage_names_the_languages_that_it_may_be():
    with pytest.raises(ValueError, match=r"hbs may be any of bs, hr, sr; choose from: .* fr "):
        check_languages(["fra", "hbs"])


@pytest.mark.parametrize("code", ["ary", "ekk", "pt-BR"])
def test_another_variety_is_not_taken_for_the_language(code):
    with pytest.raises(ValueError, match=f"unknown language {code};"):
        check_languages([code])


def test_skip_prep_writes_nothing(tmp_path):
    prepare_mini(str(tmp_path), str(tmp_path / "csv"), skip_prep=True)
    assert not list(tmp_path.iterdir())


def test_worker_uses_the_standard_library_only():
    tree = ast.parse(Path(espeak_worker.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= set(sys.stdlib_module_names)


def test_worker_reports_what_it_cannot_say():
    jobs = [
        {"id": "mute", "voice": "fr+m3", "text": " "},
        {"id": "nobody", "voice": "xx+m3", "text": "un deux trois"},
        make_job("fine", "fr", "m3", "un deux trois", EMOTIONS["neutral"], 1),
    ]
    answers = {}
    espeak_synthesis.run_jobs(jobs, 1, lambda job, answer: answers.update({job["id"]: answer}))
    assert "sound" in answers["mute"]["error"]
    assert answers["nobody"]["voice"] == "xx+m3"
    assert "does not know" in answers["nobody"]["error"]
    assert answers["fine"]["samples"] > 0.5 * espeak_worker.SAMPLE_RATE


def test_failures_are_counted_and_left_out(tmp_path, monkeypatch, caplog):
    answer = espeak_synthesis.synthesise

    def fail_once(jobs, paths, num_workers, progress):
        broken = [{**jobs[0], "text": " "}, *jobs[1:]]
        return answer(broken, paths, num_workers, progress)

    monkeypatch.setattr(espeak_synthesis, "synthesise", fail_once)
    prepare(tmp_path, hours=0.03)
    assert "1 of" in caplog.text and "voice fr+" in caplog.text
    listed = sum(len(rows) for rows in read_rows(tmp_path).values())
    assert listed == len(hash_files(tmp_path))


def test_styles_differ_in_level_and_speed(tmp_path):
    text = "mille neuf cent quatre-vingt-sept"
    jobs = [
        make_job(f"{emotion} {variant}", "fr", variant, text, style, 1)
        for emotion, style in EMOTIONS.items()
        for variant in ("f2", "m3", "Denis")
    ]
    paths = {job["id"]: str(tmp_path / f"{job['id']}.wav") for job in jobs}
    durations, errors = espeak_synthesis.synthesise(jobs, paths, 2, lambda: None)
    assert not errors

    def level(name):
        samples, _ = soundfile.read(paths[name])
        return np.sqrt(np.mean(samples**2))

    for variant in ("f2", "m3", "Denis"):
        assert level(f"angry {variant}") > 1.5 * level(f"sad {variant}")
        assert durations[f"angry {variant}"] < durations[f"neutral {variant}"]
        assert durations[f"neutral {variant}"] < durations[f"sad {variant}"]
