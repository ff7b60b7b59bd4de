"""FLEURS in the layout of its Hugging Face repository."""

import shutil
import tarfile
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from trees import fleurs_tree, read_splits, wav_bytes, write_tar, write_wav

from data_prep.common.audio import audio_path
from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.fleurs_prepare import GROUP_OF, prepare_fleurs
from masr_modules.knowledge.languages import language_family, resolve_language


@pytest.fixture
def tree(tmp_path):
    return fleurs_tree(tmp_path / "fleurs copy é")


def prepare(tree, **options):
    """Rows of each side."""
    prepare_fleurs(str(tree), str(tree / "csv"), **options)
    return read_splits(tree / "csv")


def edit(tree, old, new, table="data/fr_fr/train.tsv"):
    """Replaces bytes of a table."""
    content = (tree / table).read_bytes()
    assert old in content
    (tree / table).write_bytes(content.replace(old, new))


def test_all_102_configurations_have_a_group_and_a_language():
    assert len(GROUP_OF) == 102
    assert len({resolve_language(config) for config in GROUP_OF}) == 102
    assert all(language_family(config) for config in GROUP_OF)


def test_a_row_holds_what_the_table_says(tree):
    row = prepare(tree)["train"][0]
    expected = {
        "ID": "fleurs_cmn_hans_cn_1010",
        "duration": "1.0",
        "wav": "$data_root/data/cmn_hans_cn/audio/train/1010.wav",
        "language": "cmn",
        "language_label": "cmn_hans_cn",
        "family": "Sino-Tibetan",
        "region": "CN",
        "speaker": "",
        "gender": "male",
        "text": 'phrase "1 dite',
        "fleurs_group": "CJK",
        "sentence_id": "1",
        "raw_text": 'Phrase "1", dite.',
    }
    assert expected.items() <= row.items()


def test_the_splits_are_the_official_ones_and_share_no_sentence(tree):
    rows = prepare(tree)
    assert {side: len(rows[side]) for side in rows} == {"train": 18, "valid": 12, "test": 12}
    check_disjoint(rows, ("language", "sentence_id"))
    assert all((tree / row["wav"].removeprefix("$data_root/")).is_file() for row in rows["test"])


def test_a_sentence_of_the_test_set_is_left_out_of_training(tree, caplog):
    edit(tree, b"2\t20.wav", b"6\t20.wav")
    caplog.set_level("INFO")
    rows = prepare(tree, skip_limit=0)
    assert len(rows["train"]) == 17 and len(rows["test"]) == 12
    assert "left out by the protocol 1: sentence is also in dev or test" in caplog.text
    assert "data/fr_fr/train.tsv, line 3: 6" in caplog.text


def test_archives_and_unpacked_folders_give_the_same(tmp_path):
    packed = prepare(fleurs_tree(tmp_path / "a"))
    unpacked = prepare(fleurs_tree(tmp_path / "b", unpacked=("fr_fr", "es_419")))
    assert packed == unpacked


def test_only_the_languages_asked_for_are_read_and_unpacked(tree):
    rows = prepare(tree, languages=["fr_fr"])
    assert {row["language"] for side in rows.values() for row in side} == {"fra"}
    assert not (tree / "data/es_419/audio/train").exists()


def test_unknown_language(tree):
    with pytest.raises(ValueError, match="'fr' is no configuration of FLEURS; .*fr_fr"):
        prepare(tree, languages=["fr"])


def test_crlf_bom_empty_and_malformed_lines(tree, caplog):
    lines = (tree / "data/fr_fr/train.tsv").read_bytes().splitlines()
    lines[1:1] = [b"", b"8\ttoo few.wav\tcells"]
    (tree / "data/fr_fr/train.tsv").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    caplog.set_level("INFO")
    rows = prepare(tree, skip_limit=0.05)
    assert len(rows["train"]) == 18
    assert rows["train"][12]["raw_text"] == 'Phrase "1", dite.'
    assert "train.tsv, line 3: 3 cells, expected 7" in caplog.text


def test_broken_and_odd_audio(tree, caplog):
    files = {f"train/{10 * s + t}.wav": wav_bytes() for s in (1, 2, 3) for t in (0, 1)}
    del files["train/10.wav"]
    files["train/11.wav"] = b""
    files["train/20.wav"] = wav_bytes(seconds=0)
    files["train/21.wav"] = wav_bytes(sample_rate=48000)
    files["train/30.wav"] = wav_bytes(channels=2)
    files["train/extra file é.wav"] = wav_bytes()
    write_tar(tree / "data/fr_fr/audio/train.tar.gz", files)
    caplog.set_level("INFO")
    french = [row for row in prepare(tree, skip_limit=0.1)["train"] if row["language"] == "fra"]
    assert [row["ID"][-2:] for row in french] == ["21", "30", "31"]
    for reason in ("no such file", "empty file", "no samples", "48000 Hz", "2 channels"):
        assert reason in caplog.text


def test_too_much_broken_audio_is_an_error_and_writes_nothing(tree):
    write_tar(tree / "data/fr_fr/audio/train.tar.gz", {"train/10.wav": wav_bytes()})
    with pytest.raises(ValueError, match="more than the limit(.|\n)*no such file.*11.wav"):
        prepare(tree)
    assert not list((tree / "csv").iterdir())


def test_a_truncated_archive_leaves_nothing_and_a_rerun_goes_on(tree):
    archive = tree / "data/es_419/audio/dev.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="dev.tar.gz: truncated or broken archive"):
        prepare(tree)
    assert sorted(path.name for path in archive.parent.iterdir() if path.is_dir()) == ["test"]
    assert not (tree / "csv").exists()
    archive.write_bytes(whole)
    assert len(prepare(tree)["train"]) == 18


def test_hostile_names_are_refused(tree, tmp_path):
    write_tar(tree / "data/fr_fr/audio/train.tar.gz", {"../../evil.wav": wav_bytes()})
    with pytest.raises(ValueError, match=r"train.tar.gz: '../../evil.wav' would leave"):
        prepare(tree)
    fleurs_tree(tree)
    write_wav(tmp_path / "secret.wav")
    edit(tree, b"10.wav", b"../../../../../secret.wav")
    with pytest.raises(ValueError, match=r"train.tsv, line 1: .*secret.wav' would leave"):
        prepare(tree)


def test_a_rerun_with_the_same_settings_does_nothing(tree, monkeypatch):
    prepare(tree)
    monkeypatch.setattr("data_prep.fleurs_prepare.read_config", None)
    prepare(tree)
    with pytest.raises(TypeError):
        prepare(tree, languages=["fr_fr"])


def test_a_file_named_twice_is_taken_once(tree, caplog):
    edit(tree, b"11.wav", b"10.wav")
    caplog.set_level("INFO")
    assert len(prepare(tree, skip_limit=0.05)["train"]) == 17
    assert "file comes twice" in caplog.text


def test_wrong_folders_say_what_is_expected_where(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="data/.*train.tsv: tables of a configuration"):
        prepare_fleurs(str(tmp_path), str(tmp_path / "csv"))
    with pytest.raises(FileNotFoundError, match="looks right; did you mean it"):
        prepare_fleurs(str(tree / "data/fr_fr"), str(tmp_path / "csv"))
    (tree / "data/fr_fr/audio/dev.tar.gz").unlink()
    with pytest.raises(FileNotFoundError, match="data/fr_fr/audio/dev.tar.gz"):
        prepare(tree)


def without_paths(rows):
    return {side: [row | {"wav": ""} for row in rows[side]] for side in rows}


def as_tarballs(tree):
    """Each language as one tarball, which holds its tables and its unpacked audio."""
    for config in sorted((tree / "data").iterdir()):
        with tarfile.open(tree / f"{config.name}.tar.gz", "w:gz") as tar:
            tar.add(config, config.name)
    shutil.rmtree(tree / "data")


def as_lhotse(tree):
    for config in sorted((tree / "data").iterdir()):
        for split in ("train", "dev", "test"):
            (tree / "metadata" / config.name).mkdir(parents=True, exist_ok=True)
            (config / f"{split}.tsv").rename(tree / "metadata" / config.name / f"{split}.tsv")
            (config / "audio" / split).rename(config / split)
        config.rename(tree / config.name)
    shutil.rmtree(tree / "data")


def as_parquet(tree):
    for config in sorted((tree / "data").iterdir()):
        for split in ("train", "dev", "test"):
            rows = []
            for line in (config / f"{split}.tsv").read_text(encoding="utf-8").splitlines():
                sentence, file, raw, text, _, samples, gender = line.split("\t")
                content = (config / "audio" / split / file).read_bytes()
                rows.append(
                    {
                        "id": int(sentence),
                        "num_samples": int(samples),
                        "path": f"/somewhere/{file}",
                        "audio": {"bytes": content, "path": file},
                        "transcription": text,
                        "raw_transcription": raw,
                        "gender": ["MALE", "FEMALE"].index(gender),
                    }
                )
            name = {"dev": "validation"}.get(split, split)
            path = tree / config.name / name / "0000.parquet"
            path.parent.mkdir(parents=True)
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    shutil.rmtree(tree / "data")


ALL = ("fr_fr", "cmn_hans_cn", "es_419")


@pytest.mark.parametrize("rearrange", [as_tarballs, as_lhotse, as_parquet])
def test_other_layouts_give_the_same_rows(tmp_path, rearrange):
    tree = fleurs_tree(tmp_path / "fleurs", unpacked=ALL)
    expected = without_paths(prepare(tree))
    rearrange(tree)
    rows = prepare(tree)
    assert without_paths(rows) == expected
    for row in rows["train"] + rows["test"]:
        assert Path(audio_path(row["wav"], str(tree))).is_file()


def test_broken_parquet_is_named(tmp_path):
    tree = fleurs_tree(tmp_path / "fleurs", unpacked=ALL)
    as_parquet(tree)
    path = tree / "fr_fr/train/0000.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="0000.parquet: truncated or broken"):
        prepare(tree)
    table = pyarrow.Table.from_pylist([{"id": 1, "audio": None}])
    parquet.write_table(table, path)
    with pytest.raises(ValueError, match="no column raw_transcription, transcription, gender"):
        prepare(tree)


@pytest.mark.parametrize("pack", [lambda tree: None, as_tarballs])
def test_a_corpus_that_cannot_be_written_to_is_unpacked_beside_the_csvs(tree, monkeypatch, pack):
    pack(tree)
    monkeypatch.setattr("data_prep.common.archives.is_writable", lambda folder: False)
    before = sorted(tree.rglob("*"))
    prepare_fleurs(str(tree), str(tree.parent / "csv"))
    assert sorted(tree.rglob("*")) == before
    rows = read_splits(tree.parent / "csv")
    assert len(rows["train"]) == 18
    for row in rows["test"]:
        assert row["wav"].startswith(str(tree.parent / "csv/unpacked/"))
        assert Path(row["wav"]).is_file()


def test_a_table_that_changed_is_seen(tree):
    prepare(tree)
    edit(tree, b"2\t20.wav", b"6\t20.wav")
    assert len(prepare(tree)["train"]) == 17


def test_command_line_with_the_check(tree, capsys):
    folders = ["--data_folder", str(tree), "--save_folder", str(tree / "csv")]
    run(prepare_fleurs, [*folders, "--languages", "fr_fr", "--check", "all"])
    assert "sound" in capsys.readouterr().out
    audio = tree / "data/fr_fr/audio/test/60.wav"
    audio.write_bytes(audio.read_bytes()[:1000])
    with pytest.raises(SystemExit, match="1 files are broken"):
        run(prepare_fleurs, [*folders, "--languages", "fr_fr", "--check", "all"])
    assert "60.wav: truncated" in capsys.readouterr().out
