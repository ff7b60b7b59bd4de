"""VoxLingua107 in the layout of its downloads."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from trees import pack_zip, read_splits, voxlingua107_tree, write_wav

from data_prep.common.audio import audio_path
from data_prep.common.checks import check_disjoint
from data_prep.voxlingua107_prepare import FILE_NAME, LANGUAGES, prepare_voxlingua107
from masr_modules.knowledge.languages import resolve_language


@pytest.fixture
def tree(tmp_path):
    return voxlingua107_tree(tmp_path / "vox lingua é")


def prepare(tree, **options):
    """Rows of each side; a third of the few videos is validation."""
    prepare_voxlingua107(str(tree), str(tree / "csv"), **({"valid_share": 0.33} | options))
    return read_splits(tree / "csv")


def test_all_107_codes_name_a_language():
    assert len(LANGUAGES) == len({resolve_language(code) for code in LANGUAGES}) == 107
    assert resolve_language("iw") == "heb" and resolve_language("jw") == "jav"


@pytest.mark.parametrize("video", ["-5SuE2pyjfw", "a__b-c_d--e", "__U__S1---x", "___________"])
def test_video_ids_may_hold_what_separates_them(video):
    parts = FILE_NAME.fullmatch(f"{video}__U__S27---0012.340-0020.110.wav")
    assert parts["video"] == video and parts["start"] == "0012.340"


def test_a_row_holds_what_the_path_says(tree):
    expected = {
        "ID": "voxlingua107_dev_iw_dev_video-1__U__S0---0000.000-0001.000",
        "duration": "1.0",
        "wav": "$data_root/dev/iw/dev_video-1__U__S0---0000.000-0001.000.wav",
        "language": "heb",
        "language_label": "iw",
        "family": "Afro-Asiatic",
        "region": "IL",
        "speaker": "",
        "source": "dev_video-1",
        "video_start": "0.0",
    }
    rows = prepare(tree)
    assert expected.items() <= rows["test"][1].items()
    assert {row["video_start"] for row in rows["train"]} == {"5.95", "1024.3"}


def test_no_video_is_on_two_sides(tree):
    rows = prepare(tree)
    check_disjoint(rows, ("source",))
    assert len(rows["test"]) == 3 and len(rows["train"]) + len(rows["valid"]) == 30
    assert {len(rows["train"]) % 2, len(rows["valid"]) % 2} == {0} and rows["valid"]


def test_a_video_in_two_languages_is_on_one_side(tmp_path):
    for number in range(20):
        for language in ("de", "jw"):
            write_wav(tmp_path / language / f"v{number}__U__S0---0000.000-0001.000.wav", 0.1)
    rows = prepare(tmp_path)
    check_disjoint(rows, ("source",))
    assert all(rows[side] for side in rows)  # without dev, a part of the videos is the test set


def test_without_dev_a_warning_says_what_is_tested(tree, caplog):
    shutil.rmtree(tree / "dev")
    rows = prepare(tree)
    assert rows["test"] and {row["language"] for row in rows["test"]} <= {"deu", "heb", "jav"}
    assert "no dev/ with de, iw, jw. test.csv is drawn from the training set" in caplog.text
    assert "about 0.33 of its videos: their labels are automatic" in caplog.text


def test_with_dev_there_is_no_warning(tree, caplog):
    prepare(tree)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_too_few_videos_for_a_validation_set_are_an_error(tree):
    problem = r"none of the 30 training segments became valid: .* --valid_share 0.2"
    with pytest.raises(ValueError, match=problem):
        prepare(tree, valid_share=0.005)
    assert not list((tree / "csv").glob("*.csv"))
    assert prepare(tree, valid_share=0.2)["valid"]


def test_too_few_videos_for_a_test_set_are_an_error(tree):
    shutil.rmtree(tree / "dev")
    with pytest.raises(ValueError, match="became valid or test"):
        prepare(tree, valid_share=0.005)


@pytest.mark.parametrize("share", [0, 0.6])
def test_a_share_out_of_range_is_an_error(tree, share):
    with pytest.raises(ValueError, match=rf"valid_share \({share}\) has to be above 0"):
        prepare(tree, valid_share=share)


def test_a_training_video_that_is_also_in_dev_is_left_out(tree, caplog):
    write_wav(tree / "de/dev_video-1__U__S9---0001.000-0002.000.wav")
    caplog.set_level("INFO")
    rows = prepare(tree, skip_limit=0)
    check_disjoint(rows, ("source",))
    assert "left out by the protocol 1: video is in dev" in caplog.text


def test_the_draw_depends_on_seed_and_video_alone(tree):
    first = prepare(tree)
    shutil.rmtree(tree / "jw")
    fewer = prepare(tree)
    assert [r for r in first["train"] if r["language"] != "jav"] == fewer["train"]
    assert fewer["train"] != prepare(tree, seed=5)["train"]


def test_zips_and_folders_give_the_same(tree):
    plain = prepare(tree)
    for name in ("de", "jw", "dev"):
        pack_zip(tree / name)
    shutil.rmtree(tree / "csv")
    assert prepare(tree) == plain


def test_a_truncated_zip_leaves_nothing_and_a_rerun_goes_on(tree):
    pack_zip(tree / "de")
    whole = (tree / "de.zip").read_bytes()
    (tree / "de.zip").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="de.zip: truncated or broken archive"):
        prepare(tree)
    assert not (tree / "de").exists() and not (tree / "csv").exists()
    (tree / "de.zip").write_bytes(whole)
    assert len(prepare(tree)["test"]) == 3


def speechbrain_tree(tree):
    """The languages in train/, beside dev/."""
    (tree / "train").mkdir()
    for language in ("de", "iw", "jw"):
        (tree / language).rename(tree / "train" / language)


def sides(folder, tree):
    """Side -> the utterances, and where their audio is found from the folder that was given."""
    prepare_voxlingua107(str(folder), str(tree / "csv"), valid_share=0.33)
    rows = read_splits(tree / "csv")
    for row in (row for side in rows.values() for row in side):
        assert Path(audio_path(row["wav"], str(folder))).is_file()
    return {side: {row["ID"] for row in rows[side]} for side in rows}


@pytest.mark.parametrize("given", [".", "train", "dev"])
def test_train_and_dev_side_by_side_whichever_is_given(tree, given):
    plain = sides(tree, tree)
    speechbrain_tree(tree)
    assert sides(tree / given, tree) == plain


def test_dev_given_beside_the_languages_does_not_train_on_it(tree):
    plain = sides(tree, tree)
    assert sides(tree / "dev", tree) == plain


def test_dev_alone_is_no_training_set(tree):
    for language in ("de", "iw", "jw"):
        shutil.rmtree(tree / language)
    for folder in (tree, tree / "dev"):
        with pytest.raises(FileNotFoundError, match="VoxLingua107 .training set"):
            prepare_voxlingua107(str(folder), str(tree / "csv"))


def test_dev_that_is_added_is_seen(tree):
    shutil.move(tree / "dev", tree.parent / "dev")
    assert len(prepare(tree)["test"]) > 3
    shutil.move(tree.parent / "dev", tree / "dev")
    pack_zip(tree / "dev")
    assert len(prepare(tree)["test"]) == 3


def test_a_newer_preparation_is_seen(tree, monkeypatch, caplog):
    prepare(tree)
    caplog.set_level("INFO")
    monkeypatch.setattr("data_prep.voxlingua107_prepare.VERSION", 99)
    prepare(tree)
    assert "prepared again, because these settings changed: version" in caplog.text


def test_a_corpus_that_cannot_be_written_to_is_unpacked_beside_the_csvs(tree, monkeypatch):
    plain = sides(tree, tree)
    for name in ("de", "jw", "dev"):
        pack_zip(tree / name)
    monkeypatch.setattr("data_prep.common.archives.is_writable", lambda folder: False)
    assert sides(tree, tree) == plain
    assert not (tree / "de").exists() and (tree / "csv/unpacked/dev/jw").is_dir()
    monkeypatch.setattr("data_prep.common.archives.extract_archive", None)  # not again
    assert sides(tree, tree) == plain


def test_extra_files_and_broken_audio(tree, caplog):
    first, second, third = sorted((tree / "de").iterdir())[:3]
    first.write_bytes(b"")
    write_wav(second, sample_rate=8000, channels=2)
    third.write_bytes(third.read_bytes()[:500])
    (tree / "de/._a__U__S0---0000.000-0001.000.wav").touch()
    (tree / "de/readme.txt").write_text("hello")
    write_wav(tree / "de/strange name é.wav")
    (tree / "not a language").mkdir()
    caplog.set_level("INFO")
    rows = prepare(tree, skip_limit=0.1)
    assert sum(map(len, rows.values())) == 31
    for reason in ("audio: empty file", "truncated", "8000 Hz", "2 channels", "not of the corpus"):
        assert reason in caplog.text
    assert "name is not VIDEO__U__S0---START-END.wav (de/strange name é.wav)" in caplog.text


def test_only_the_languages_asked_for(tree):
    assert {row["language"] for row in prepare(tree, languages=["iw"])["train"]} == {"heb"}
    with pytest.raises(FileNotFoundError, match=r"fr/.*wav: speech of a language(.|\n)*fr.zip"):
        prepare(tree, languages=["fr"])


def test_wrong_folder_says_what_is_expected(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"does not look like VoxLingua107(.|\n)*looks rig"):
        prepare_voxlingua107(str(tmp_path), str(tmp_path / "csv"))


def test_a_rerun_with_the_same_settings_does_nothing(tree, monkeypatch):
    rows = prepare(tree)
    monkeypatch.setattr("data_prep.voxlingua107_prepare.read_segments", None)
    assert prepare(tree) == rows


def test_shards_are_written_after_the_csvs(tree):
    rows = prepare(tree, shard_folder=str(tree / "shards"))
    index = json.loads((tree / "shards/shards.json").read_text())
    assert sum(index["shards"].values()) == len(rows["train"])
