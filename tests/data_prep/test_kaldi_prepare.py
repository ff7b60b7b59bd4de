"""Kaldi data directories, whole and as real ones are."""

from pathlib import Path

import pytest
import soundfile
from trees import read_splits, write_lines, write_wav
from trees_kaldi import SPEAKERS, kaldi_tree

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.kaldi_prepare import prepare_kaldi
from masr_modules.data.dataio import read_audio, read_segment

HUMAN = Path(__file__).parents[3] / "shared/human/speechocean762"


def add(root, table, *lines, split="train"):
    with (root / split / table).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def prepare(root, **options):
    options = {"corpus": "so", "constants": {"language": "en"}} | options
    prepare_kaldi(str(root), str(root / "csv"), **options)
    return read_splits(root / "csv")


def every(splits):
    return [row for rows in splits.values() for row in rows]


def test_a_row_holds_what_the_tables_tell(tmp_path):
    splits = prepare(kaldi_tree(tmp_path))
    row = next(row for row in splits["test"] if row["ID"] == "so_000900001")
    expected = {
        "wav": "$data_root/WAVE/S0009/000900001.wav",
        "duration": "1.0",
        "language": "eng",
        "family": "Indo-European",
        "speaker": "so_0009",
        "gender": "male",
        "age": "15",
        "text": "IT IS  1",
        "source": "so",
    }
    assert {name: row[name] for name in expected} == expected


def test_the_folders_name_is_the_corpus(tmp_path):
    splits = prepare(kaldi_tree(tmp_path / "mine"), corpus=None)
    assert {row["source"] for row in every(splits)} == {"mine"}
    assert splits["test"][0]["ID"] == "mine_000800000"


def test_validation_is_held_out_of_the_training_by_speaker_and_gender(tmp_path):
    splits = prepare(kaldi_tree(tmp_path))
    # of 4 women and 4 men round(.15 * 4) = 1 each
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 12,
        "valid": 4,
        "test": 4,
    }
    assert {row["gender"] for row in splits["valid"]} == {"female", "male"}
    check_disjoint(splits, ("speaker",))


def test_the_seed_decides(tmp_path):
    root = kaldi_tree(tmp_path)
    held = [{row["speaker"] for row in prepare(root, seed=seed)["valid"]} for seed in (1, 1, 2, 3)]
    assert held[0] == held[1] and len(set(map(frozenset, held))) > 1


def test_directories_are_splits_by_their_names(tmp_path):
    names = {"train_a": [0], "train_b": [1], "dev": [2], "eval2000": [3]}
    splits = prepare(kaldi_tree(tmp_path, names))
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [4, 2, 2]
    splits = prepare(tmp_path, directories=["train_b", "dev", "eval2000"])
    assert {row["speaker"] for row in splits["train"]} == {"so_0001"}


def test_a_directory_whose_name_tells_no_split_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"local \(directories=… .*\): split 'local' is unknown"):
        prepare(kaldi_tree(tmp_path, {"train": [0], "local": [1]}))


def test_a_single_directory_is_divided_by_speaker(tmp_path):
    root = kaldi_tree(tmp_path, {"train": range(10)})
    splits = prepare(root, kaldi_folder=str(root / "train"))
    # of 5 women and 5 men round(.35 * 5) = 2 test and 1 validates
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [8, 4, 8]
    check_disjoint(splits, ("speaker",))


def test_directories_may_lie_elsewhere_than_the_audio(tmp_path):
    root = kaldi_tree(tmp_path / "audio")
    for split in SPEAKERS:
        path = root / split / "wav.scp"
        path.write_text(path.read_text().replace("WAVE", f"{root}/WAVE"))
        (tmp_path / "data").mkdir(exist_ok=True)
        (root / split).rename(tmp_path / "data" / split)
    rows = every(prepare(root, kaldi_folder=str(tmp_path / "data")))
    assert len(rows) == 20 and all(row["wav"].startswith("$data_root/WAVE") for row in rows)


def test_segments_become_parts_of_their_recording(tmp_path):
    root = kaldi_tree(tmp_path, {"train": range(3)}, clips=1)
    add(root, "segments", "a-1 000000000 0.25 0.75", "a-2 000000000 0.5 -1", "b 000100000 0 1.05",
        "c 000200000 0 1")  # fmt: skip
    lines = ["a-1 0000", "a-2 0000", "b 0001", "c 0002"]
    write_lines(root / "train/utt2spk", lines)
    rows = {row["ID"]: row for row in every(prepare(root))}
    assert [rows[f"so_{name}"]["duration"] for name in ("a-1", "a-2", "b")] == ["0.5", "0.5", "1.0"]
    path = root / "WAVE/S0000/000000000.wav"
    part = read_audio(str(path), 16000, None, 0, read_segment(rows["so_a-1"]))
    whole, _ = soundfile.read(path, dtype="float32")
    assert part.numpy() == pytest.approx(whole[4000:12000], abs=1e-4)


@pytest.mark.parametrize("segment", ["0.5 1.5", "1.0 -1", "0.5 0.50001"])
def test_segments_outside_of_their_recording_are_left_out(tmp_path, caplog, segment):
    caplog.set_level("INFO")
    root = kaldi_tree(tmp_path, {"train": range(4)}, clips=1)
    add(root, "segments", f"000000000 000000000 {segment}",
        *(f"000{n}00000 000{n}00000 0 1" for n in range(1, 4)))  # fmt: skip
    assert len(every(prepare(root, skip_limit=0.5))) == 3
    assert "left out 1 of 4: segment is not within its recording (so_000000000" in caplog.text


@pytest.mark.parametrize("segment", ["r 1.0 0.5", "r 1.0", "r a b", "r -1 2", "r nan 2", ""])
def test_a_segment_that_is_none_is_an_error(tmp_path, segment):
    root = kaldi_tree(tmp_path)
    add(root, "segments", f"u {segment}")
    with pytest.raises(ValueError, match="segments, line 1: .* RECORDING START END is expected"):
        prepare(root)


@pytest.mark.parametrize("command", ["sox a.wav -t wav - |", "touch {proof} |", "| cat"])
def test_commands_are_refused_and_not_run(tmp_path, command):
    root = kaldi_tree(tmp_path)
    proof = tmp_path / "proof"
    add(root, "wav.scp", f"u {command.format(proof=proof)}")
    with pytest.raises(ValueError, match="wav.scp, line 17: .* is a command, .* never run here"):
        prepare(root)
    assert not proof.exists() and not (root / "csv").exists()


@pytest.mark.parametrize("place", ["raw.ark:1234", "raw.ark:12[0:5]", "-", ""])
def test_archives_and_standard_input_are_refused(tmp_path, place):
    root = kaldi_tree(tmp_path)
    add(root, "wav.scp", f"u {place}")
    with pytest.raises(ValueError, match="wav.scp, line 17: .* extract the audio"):
        prepare(root)


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/passwd", "WAVE/../../x.wav"])
def test_paths_out_of_the_folder_are_refused(tmp_path, path):
    root = kaldi_tree(tmp_path / "corpus")
    add(root, "wav.scp", f"u {path}")
    add(root, "utt2spk", "u 0000")
    with pytest.raises(ValueError, match="wav.scp, line 17: .* would leave the corpus's folder"):
        prepare(root)


def test_links_out_of_the_folder_and_missing_files_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = kaldi_tree(tmp_path / "corpus")
    (root / "WAVE/link.wav").symlink_to(write_wav(tmp_path / "mine.wav"))
    add(root, "wav.scp", "u WAVE/link.wav", "v WAVE/none.wav")
    add(root, "utt2spk", "u 0000", "v 0000")
    assert len(every(prepare(root, skip_limit=0.2))) == 20
    assert "left out 1 of 22: audio: link that leaves the folder" in caplog.text
    assert "left out 1 of 22: audio: no such file" in caplog.text


def test_utterances_that_a_table_lacks_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = kaldi_tree(tmp_path)
    add(root, "wav.scp", "u WAVE/S0000/000000000.wav")  # no speaker
    add(root, "utt2spk", "v 0000")  # no audio
    assert len(every(prepare(root, skip_limit=0.2))) == 20
    assert "utterance is not in utt2spk" in caplog.text and "utterance has no audio" in caplog.text


def test_a_key_that_comes_twice_is_named(tmp_path):
    root = kaldi_tree(tmp_path)
    add(root, "spk2gender", "0000 m")
    with pytest.raises(ValueError, match="spk2gender, line 9: '0000' comes twice .*line 1"):
        prepare(root)


def test_bom_crlf_and_empty_lines_do_no_harm(tmp_path):
    root = kaldi_tree(tmp_path)
    before = prepare(root)
    for path in root.glob("t*/*"):
        write_lines(path, ["", *path.read_text().splitlines(), ""], end="\r\n", bom=True)
    assert prepare(root) == before


def test_latin_1_is_named(tmp_path):
    root = kaldi_tree(tmp_path)
    (root / "train/text").write_bytes("000000000 é\n".encode("latin-1"))
    with pytest.raises(ValueError, match="text, line 1: is not UTF-8"):
        prepare(root)


def test_what_is_not_understood_is_noted_and_left_empty(tmp_path, caplog):
    caplog.set_level("INFO")
    root = kaldi_tree(tmp_path)
    for table, old, new in (("spk2gender", "0008\tf", "0008\t?"), ("spk2age", "\t14", "\told")):
        path = root / "test" / table
        path.write_text(path.read_text().replace(old, new))
    rows = [row for row in prepare(root)["test"] if row["speaker"] == "so_0008"]
    assert {(row["gender"], row["age"]) for row in rows} == {("", "")}
    assert "noted 2: gender not understood" in caplog.text
    assert "noted 2: age not understood" in caplog.text


def test_languages_by_utterance_come_before_those_by_speaker(tmp_path):
    root = kaldi_tree(tmp_path)
    write_lines(root / "test/spk2lang", ["0008 de", "0009 de"])
    write_lines(root / "test/utt2lang", ["000800000 pt-BR"])
    rows = {row["ID"]: row["language"] for row in prepare(root)["test"]}
    assert sorted(rows.values()) == ["deu", "deu", "deu", "por"]
    assert rows["so_000800000"] == "por"


def test_a_speaker_in_two_given_splits_is_noted(tmp_path, caplog):
    caplog.set_level("INFO")
    root = kaldi_tree(tmp_path)
    path = root / "test/utt2spk"
    path.write_text(path.read_text().replace(" 0008", " 0000"))
    prepare(root)
    assert "noted 2: speaker in two of the given splits" in caplog.text


def test_constants_add_columns(tmp_path):
    splits = prepare(kaldi_tree(tmp_path), constants={"accent": "Mandarin", "device": "phone"})
    assert {(r["accent"], r["device"]) for r in every(splits)} == {("Mandarin", "phone")}


def test_a_folder_of_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a Kaldi directory for each split"):
        prepare(tmp_path)
    kaldi_tree(tmp_path)
    (tmp_path / "train/utt2spk").unlink()
    with pytest.raises(FileNotFoundError, match="utt2spk: speakers"):
        prepare(tmp_path)


def test_an_edited_table_is_seen(tmp_path, monkeypatch):
    root = kaldi_tree(tmp_path)
    rows = prepare(root)
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.kaldi_prepare.make_rows", None)
        assert prepare(root) == rows
    add(root, "spk2age", "new 30")
    assert prepare(root) == rows
    write_lines(root / "test/text", ["000800000 NEW"])
    assert {row["text"] for row in prepare(root)["test"]} == {"NEW", ""}


def test_command_line(tmp_path):
    root = kaldi_tree(tmp_path)
    folders = ["--data_folder", str(root), "--save_folder", str(root / "csv")]
    run(prepare_kaldi, [*folders, "--constants", "language=en", "--check", "all"])
    assert len(every(read_splits(root / "csv"))) == 20


@pytest.mark.skipif(not HUMAN.is_dir(), reason="needs ../shared/human")
def test_speechocean762(tmp_path):
    prepare_kaldi(str(HUMAN), str(tmp_path), constants={"language": "en"}, num_workers=1)
    splits = read_splits(tmp_path)
    rows = every(splits)
    assert len(rows) == 5000 and len(splits["test"]) == 2500
    assert len({row["speaker"] for row in rows}) == 250
    assert min(float(row["age"]) for row in rows) == 6
    assert all(row["gender"] and row["text"] and row["language"] == "eng" for row in rows)
    check_disjoint(splits, ("speaker",))
