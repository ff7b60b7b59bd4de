"""VoxCeleb as copies of it lie on disks."""

import shutil

import pytest
from trees import write_lines, write_wav
from trees_voxceleb import (
    VIDEOS,
    prepare,
    speakers,
    voxceleb1_tree,
    voxceleb2_tree,
)

FIRST, SECOND = VIDEOS


def test_m4a_files_whose_wav_is_in_another_folder_ask_for_nothing(tmp_path):
    root = tmp_path / "corpus"
    voxceleb1_tree(root / "voxceleb1")
    voxceleb2_tree(root / "voxceleb2")
    before = prepare(root, tmp_path / "before")
    wavs = list((root / "voxceleb2").rglob("*.wav"))
    for wav in wavs:  # not beside dev/wav, so that the folders' names do not tell
        m4a = root / "downloads/aac" / wav.relative_to(root / "voxceleb2/dev/wav")
        m4a.parent.mkdir(parents=True, exist_ok=True)
        m4a.with_suffix(".m4a").touch()
        wav.with_suffix(".m4a").touch()
    assert wavs and prepare(root, tmp_path / "after") == before


def test_one_m4a_without_its_wav_is_counted(tmp_path, caplog):
    voxceleb1_tree(tmp_path / "corpus")
    root = voxceleb2_tree(tmp_path / "corpus")
    for video in (FIRST, SECOND):
        m4a = root / f"dev/aac/id00012/{video}/00001.m4a"
        m4a.parent.mkdir(parents=True)
        m4a.touch()
    (root / f"dev/wav/id00012/{SECOND}/00001.wav").unlink()
    caplog.set_level("INFO")
    prepare(root, tmp_path / "csv", skip_limit=0.1)
    left_out = (
        f"m4a without a wav, which data_prep.voxceleb_convert makes (dev/aac/id00012/{SECOND}"
    )
    assert f"left out 1 of 36: {left_out}/00001.m4a)" in caplog.text


def speechbrain_tree(root):
    """SpeechBrain's folder: all speakers in wav, and its meta has the list alone."""
    for build in (voxceleb1_tree, voxceleb2_tree):
        source = build(root.parent / build.__name__)
        for wav in ("wav", "dev/wav"):
            if (source / wav).is_dir():
                shutil.copytree(source / wav, root / "wav", dirs_exist_ok=True)
    (root / "meta").mkdir()
    shutil.copy(root.parent / "voxceleb1_tree/meta/veri_test2.txt", root / "meta")
    return root


def test_speechbrains_folder(tmp_path, caplog):
    root = speechbrain_tree(tmp_path / "corpus")
    caplog.set_level("INFO")
    splits = prepare(root, tmp_path / "csv")
    assert speakers(splits["test"]) == {"id10270", "id10271"}
    heard = speakers(splits["train"]) | speakers(splits["valid"])
    assert {"id10001", "id00012"} <= heard and not heard & speakers(splits["test"])
    for number in "12":
        assert f"no vox{number}_meta.csv, neither there nor in its folder meta" in caplog.text
    with pytest.raises(FileNotFoundError, match="no vox1_meta.csv"):  # nothing tells who is tested
        prepare(root, tmp_path / "csv", trials=[])


def test_a_copy_of_the_test_set_is_noted(tmp_path, caplog):
    root = speechbrain_tree(tmp_path / "corpus")
    alone = prepare(root, tmp_path / "alone")
    for speaker in ("id10270", "id10271"):
        shutil.copytree(root / "wav" / speaker, root / "vox1_test_wav/wav" / speaker)
    caplog.set_level("INFO")
    assert sorted(row["ID"] for row in prepare(root, tmp_path / "csv")["test"]) == sorted(
        row["ID"] for row in alone["test"]
    )
    copy = "noted 8: copy of an utterance, the other file is taken"
    assert f"{copy} (wav/id10270/{FIRST}/00001.wav" in caplog.text


def test_two_files_for_one_utterance_are_both_named(tmp_path):
    root = voxceleb1_tree(tmp_path / "corpus")
    clip = f"id10270/{FIRST}/00001.wav"
    write_wav(root / "test/wav" / clip, 0.3)
    with pytest.raises(ValueError, match=f"test/wav/{clip} .* and wav/{clip} .* remove the wrong"):
        prepare(root, tmp_path / "csv")


def test_what_real_copies_have_wrong(tmp_path, caplog):
    root = voxceleb1_tree(tmp_path / "corpus")
    video = root / f"wav/id10001/{FIRST}"
    write_wav(video / "00003.wav", 0.2, sample_rate=44100, channels=2)
    (video / "00004.wav").touch()
    write_wav(video / "00005.wav", 0.0)
    (video / "00006.wav").write_bytes((video / "00001.wav").read_bytes()[:1000])
    (video / "00007.m4a").touch()
    (video / "00001.m4a").touch()  # its wav is there
    (video / "._00001.wav").write_bytes(b"\x00\x05\x16\x07")
    (video / "00001.txt").write_text("frame info")
    write_wav(root / "wav/id10001/vidéo 1/00001.wav", 0.2)
    (root / "wav/id10001/.DS_Store").touch()
    (root / "wav/readme.txt").touch()
    (root / "txt/id10001/x").mkdir(parents=True)
    meta = (root / "meta/vox1_meta.csv").read_text().splitlines()
    meta = [line for line in meta if "id10003" not in line]
    meta = [line.replace("\tm\tIreland", "\t?\tAtlantis") for line in meta]
    write_lines(root / "meta/vox1_meta.csv", [*meta, "", "id10005"], end="\r\n", bom=True)

    caplog.set_level("INFO")
    splits = prepare(root, tmp_path / "csv", skip_limit=0.2)
    rows = splits["train"] + splits["valid"]
    assert len(rows) == 4 * 4 + 2
    assert any(row["source"] == "vidéo 1" for row in rows)
    odd = next(row for row in rows if row["speaker"] == "voxceleb1_id10001")
    assert odd["gender"] == odd["region"] == "" and odd["nationality"] == "Atlantis"
    unknown = next(row for row in rows if row["speaker"] == "voxceleb1_id10003")
    assert unknown["gender"] == unknown["nationality"] == ""
    for report in (
        "audio: empty file",
        "audio: no samples",
        "audio: truncated",
        "m4a without a wav, which data_prep.voxceleb_convert makes",
        "malformed line in the table",
        "noted 4: speaker is not in the metadata",
        "noted 1: unknown country, region left empty",
        "noted 1: unknown gender, left empty",
        "noted 1: sample rate 44100 Hz",
        "noted 1: 2 channels",
    ):
        assert report in caplog.text, report


def test_m4a_files_that_are_not_converted_give_the_command(tmp_path):
    voxceleb1_tree(tmp_path / "corpus")
    root = voxceleb2_tree(tmp_path / "corpus", folder="dev/aac")
    for wav in (root / "dev/aac").rglob("*.wav"):
        wav.rename(wav.with_suffix(".m4a"))
    message = "4 speakers have .m4a files(.|\n)*python -m data_prep.voxceleb_convert --data_folder"
    with pytest.raises(ValueError, match=message):
        prepare(root, tmp_path / "csv")
    assert len(prepare(root, tmp_path / "csv", train_on=["voxceleb1"])["train"]) == 12
