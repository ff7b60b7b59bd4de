"""A Hugging Face dataset on disk, as a user's own corpus."""

import json

import pytest
import soundfile
from trees import read_splits, write_lines
from trees_hugging_face import rows_of, saved_dataset, saved_dataset_dict

from data_prep.custom_prepare import prepare_custom
from masr_modules.data.corpus import load_csv

HF_COLUMNS = {"speaker": "speaker_id", "language": "lang", "tags": "tags"}


def prepare_saved(folder, save_folder, **options):
    prepare_custom(str(folder), str(save_folder), columns=HF_COLUMNS, **options)
    return read_splits(save_folder)


def every(splits):
    return [row for rows in splits.values() for row in rows]


def test_a_saved_dataset_is_written_as_audio_and_csvs(tmp_path):
    folder = saved_dataset(tmp_path / "hf", rows_of("abcdef"), shards=2)
    splits = prepare_saved(folder, tmp_path / "csv")
    rows = {row["speaker"].removeprefix("custom_"): row for row in every(splits)}
    assert len(rows) == 6
    row = rows["b"]
    assert (row["language"], row["age"], row["tags"]) == ("deu", "30", "read|quiet")
    assert row["duration"] == "0.2" and rows["a"]["age"] == ""
    path = tmp_path / "csv/wav/all-b2fe78cbc674e8e6/00000001.wav"
    assert row["wav"] == str(path) and soundfile.info(path).frames == 3200
    assert row["ID"] == "custom_all-b2fe78cbc674e8e6--00000001"
    side = next(side for side in splits if row in splits[side])
    loaded = load_csv(tmp_path / f"csv/{side}.csv", folder)
    assert loaded[row["ID"]]["wav"] == str(path)


def test_nan_and_none_of_a_saved_dataset_are_empty_cells(tmp_path):
    columns = rows_of(["s1", "nan", "s3"]) | {"age": [float("nan"), 30.0, 31.0]}
    saved_dataset(tmp_path / "set", columns | {"tags": [["a", None], [None], None]})
    mapped = {"speaker": "speaker_id", "tags": "tags"}
    prepare_custom(str(tmp_path / "set"), str(tmp_path / "csv"), None, mapped, missing=["nan"])
    rows = sorted(every(read_splits(tmp_path / "csv")), key=lambda row: row["ID"])
    found = [(row["speaker"], row["age"], row["tags"]) for row in rows]
    assert found == [("custom_s1", "", "a"), ("", "30.0", ""), ("custom_s3", "31.0", "")]


def test_the_splits_of_a_saved_dataset_are_kept(tmp_path):
    splits = {"train": rows_of("abc"), "validation": rows_of("d"), "test": rows_of("ef", "WAV")}
    prepared = prepare_saved(saved_dataset_dict(tmp_path / "hf", splits), tmp_path / "csv")
    assert [[r["speaker"][-1] for r in prepared[side]] for side in ("train", "valid", "test")] == [
        list("abc"),
        list("d"),
        list("ef"),
    ]


def test_broken_and_foreign_audio_of_a_saved_dataset(tmp_path, caplog):
    caplog.set_level("INFO")
    columns = rows_of("abcdef")
    columns["audio"] = columns["audio"][:4] + [{"bytes": b"404 not found", "path": None}, None]
    folder = saved_dataset(tmp_path / "hf", columns)
    splits = prepare_saved(folder, tmp_path / "csv", skip_limit=0.5)
    assert {row["speaker"][-1] for row in every(splits)} <= set("abcd")
    assert "left out 1 of 6: audio: cannot be decoded" in caplog.text
    assert "left out 1 of 6: audio: neither bytes nor a path" in caplog.text
    columns["audio"][5] = {"bytes": None, "path": "/etc/passwd"}
    saved_dataset(tmp_path / "hf2", columns)
    with pytest.raises(ValueError, match="hf2, row 5: '/etc/passwd' would leave"):
        prepare_saved(tmp_path / "hf2", tmp_path / "csv2", skip_limit=0.5)


@pytest.mark.parametrize("fingerprint", ["/outside/x", "../../x", "a/b", "", "x" * 65, "a\0b"])
def test_a_fingerprint_that_is_a_path_writes_nowhere(fingerprint, tmp_path):
    folder = saved_dataset(tmp_path / "hf", rows_of("abcdef"))
    state = json.loads((folder / "state.json").read_text())
    write_lines(folder / "state.json", [json.dumps(state | {"_fingerprint": fingerprint})])
    with pytest.raises(ValueError, match="_fingerprint is"):
        prepare_saved(folder, tmp_path / "csv")
    assert {path.name for path in tmp_path.iterdir()} <= {"hf", "csv"}


def test_a_truncated_or_foreign_dataset_is_named(tmp_path):
    folder = saved_dataset(tmp_path / "hf", rows_of("abcdef"))
    path = folder / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="arrow: truncated or broken"):
        prepare_saved(folder, tmp_path / "csv")
    write_lines(folder / "state.json", ["{}"])
    with pytest.raises(ValueError, match="no dataset as save_to_disk writes it"):
        prepare_saved(folder, tmp_path / "csv")


def test_an_interrupted_run_keeps_the_audio_and_goes_on(tmp_path, monkeypatch):
    from data_prep import custom_prepare

    folder = saved_dataset(tmp_path / "hf", rows_of("abcdef"))
    write = custom_prepare.write_corpus

    def interrupted(save_folder, rows, *arguments, **options):
        next(iter(rows))
        raise KeyboardInterrupt

    monkeypatch.setattr(custom_prepare, "write_corpus", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_saved(folder, tmp_path / "csv")
    wavs = sorted((tmp_path / "csv/wav").rglob("*"))
    times = [path.stat().st_mtime_ns for path in wavs if path.is_file()]
    assert times and not list((tmp_path / "csv").glob("*.csv"))
    monkeypatch.setattr(custom_prepare, "write_corpus", write)
    assert len(every(prepare_saved(folder, tmp_path / "csv"))) == 6
    assert times == [path.stat().st_mtime_ns for path in wavs if path.is_file()]
