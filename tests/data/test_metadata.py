"""CSVs and metadata, the good and the bad."""

import os

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from masr_modules.data import audio_check
from masr_modules.data.audio_check import drop_unreadable
from masr_modules.data.corpus import Rows, load_corpora, load_csv
from masr_modules.data.metadata import Metadata, MetadataTable

HEADER = "ID,duration,wav,language,text\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_optional_columns_may_be_absent():
    table = MetadataTable({"a": {"language": "fra"}})
    assert table.require("speaker", optional=True).tolist() == [-1]
    assert table(["a"])["speaker"].tolist() == [-1]


def test_a_table_encodes_what_is_asked_for_and_nothing_else():
    table = MetadataTable([{"a": {"language": "fra", "year": "3"}}, {"b": {"language": ""}}])
    assert not table.columns and len(table) == 2
    assert table.vocabulary("language") == ["fra"]
    assert set(table(["b"]).columns) == {"language"} and table(["b"])["language"].tolist() == [-1]
    assert table.require("year", "numbers")[0] == 3.0
    with pytest.raises(ValueError, match="'year' is read as numbers, and labels are asked for"):
        table.vocabulary("year")
    with pytest.raises(ValueError, match="'language' is read as labels, and numbers are asked for"):
        table.require("language", "numbers")


def test_a_column_of_numbers_is_one_whoever_asks():
    with pytest.raises(ValueError, match="'age' is read as numbers, and labels are asked for"):
        MetadataTable({"a": {"age": "3"}}).vocabulary("age")


def test_only_wav_is_substituted(tmp_path):
    rows = load_csv(
        write(tmp_path / "a.csv", HEADER + "a,1.0,$data_root/a b.wav,fra,$data_root $5\n"), "/x"
    )
    assert rows["a"]["wav"] == "/x/a b.wav"
    assert rows["a"]["text"] == "$data_root $5"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no column ID, duration, wav"),
        (HEADER, "no rows"),
        ("ID,wav\na,b\n", "no column duration"),
        (HEADER + "a,1.0,a.wav,fra\n", "line 2.*number of cells"),
        (HEADER + "a,1.0,a.wav,fra,x\na,1.0,a.wav,fra,x\n", "line 3.*'a' is empty or repeated"),
        (HEADER + "a,long,a.wav,fra,x\n", "line 2.*duration of a"),
        (HEADER + "a,-1,a.wav,fra,x\n", "line 2.*duration of a"),
        (HEADER + "a,nan,a.wav,fra,x\n", "line 2.*duration of a"),
    ],
)
def test_a_broken_csv_is_named_with_file_and_line(tmp_path, text, words):
    with pytest.raises(ValueError, match=f"bad.csv.*{words}"):
        load_csv(write(tmp_path / "bad.csv", text), tmp_path)


def test_a_csv_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.csv.*prepare"):
        load_csv(tmp_path / "none.csv", tmp_path)


@pytest.fixture
def ten_rows(tmp_path):
    for i in range(10):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(160), 16000)
    wavs = [str(tmp_path / f"{i}.wav") for i in range(10)]
    return Rows(
        pa.table({"ID": [f"u{i}" for i in range(10)], "duration": [0.01] * 10, "wav": wavs})
    )


def test_unreadable_audio_is_left_out_named_and_counted(ten_rows, tmp_path, caplog):
    (tmp_path / "3.wav").unlink()
    (tmp_path / "4.wav").write_bytes(b"not audio")
    with caplog.at_level("WARNING"):
        kept = drop_unreadable(ten_rows, limit=0.2)
    assert sorted(ten_rows.keys() - kept.keys()) == ["u3", "u4"]
    assert "left out u3" in caplog.text and "3.wav: no such file" in caplog.text
    assert "left out u4" in caplog.text and "2 of 10 audio files" in caplog.text


def test_a_pipe_among_the_audio_files_is_left_out(ten_rows, tmp_path, caplog):
    (tmp_path / "3.wav").unlink()
    os.mkfifo(tmp_path / "3.wav")
    assert ten_rows.keys() - drop_unreadable(ten_rows, limit=0.2).keys() == {"u3"}
    assert "3.wav: not a regular file" in caplog.text


def test_a_file_that_several_rows_are_part_of_takes_them_all_along(ten_rows, tmp_path):
    (tmp_path / "3.wav").unlink()
    wavs = [str(tmp_path / f"{i % 5}.wav") for i in range(10)]
    rows = Rows(
        pa.table({"ID": [f"u{i}" for i in range(10)], "duration": [0.01] * 10, "wav": wavs})
    )
    assert rows.keys() - drop_unreadable(rows, limit=0.2).keys() == {"u3", "u8"}


def test_too_many_unreadable_files_stop_the_run(ten_rows, tmp_path):
    (tmp_path / "3.wav").unlink()
    with pytest.raises(ValueError, match=r"1 of 10.*u3.*3\.wav.*max_unreadable"):
        drop_unreadable(ten_rows, limit=0.05)


def test_a_column_of_the_yaml_that_no_csv_has():
    with pytest.raises(ValueError, match="'accent', named in the YAML.*language"):
        MetadataTable({"a": {"language": "fra"}}).require("accent")


def test_missing_values_stay_missing():
    metadata = Metadata.from_columns({"speaker": ["b", "", "a"], "age": ["3", "", "4.5"]})
    assert metadata["speaker"].tolist() == [1, -1, 0]
    assert metadata["age"].isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("cell", ["young", "nan", "inf", "-inf", "1e39", "1,5"])
def test_a_cell_that_is_no_finite_number_is_named(cell):
    with pytest.raises(ValueError, match=f"'age': '{cell}' is not a finite number"):
        Metadata.from_columns({"age": [cell]})


def test_a_column_is_numeric_where_it_is_asked_for():
    columns = {"year": ["1998", "", "2e3"]}
    year = Metadata.from_columns(columns, numeric=["year"])["year"]
    assert year.dtype == torch.float32
    assert year[[0, 2]].tolist() == [1998, 2000] and year.isnan().tolist() == [False, True, False]
    assert Metadata.from_columns(columns)["year"].tolist() == [0, -1, 1]  # labels


def test_a_table_names_the_utterance_of_a_bad_number():
    rows = {"a": {"year": "1998"}, "b é": {"year": "last"}}
    with pytest.raises(ValueError, match="'year': 'last' of utterance 'b é'"):
        MetadataTable(rows).require("year", "numbers")


def test_what_was_readable_is_not_looked_at_again_unless_it_changes(
    ten_rows, tmp_path, monkeypatch
):
    memory = tmp_path / "train.readable.sha256"
    assert drop_unreadable(ten_rows, memory=memory) is ten_rows
    monkeypatch.setattr(audio_check, "read_headers", None)
    assert drop_unreadable(ten_rows, memory=memory) is ten_rows
    monkeypatch.undo()
    (tmp_path / "3.wav").unlink()
    with pytest.raises(ValueError, match="1 of 10 audio files"):
        drop_unreadable(ten_rows, memory=memory)
    fewer = ten_rows.without(["u0"])  # other files: looked at
    assert len(drop_unreadable(fewer, limit=0.2, memory=memory)) == 8
    assert len(drop_unreadable(fewer, limit=0.2, memory=memory)) == 8  # it may have been mended
    drop_unreadable(ten_rows.without(["u3"]), memory=tmp_path / "3.wav/no-folder.json")


def test_rows_read_as_a_dict_of_dicts(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        'ID,duration,wav,language,text\na,1.5,$data_root/a.wav,fra,"two\nlines, ""quoted"""\n'
        "b,2,${data_root}/b.wav,,costs $100\nc,3,c/d.wav,NA,null\n"
    )
    rows = load_csv(path, "/corpus")
    assert dict(rows) == {
        "a": {
            "duration": 1.5,
            "wav": "/corpus/a.wav",
            "language": "fra",
            "text": 'two\nlines, "quoted"',
        },
        "b": {"duration": 2.0, "wav": "/corpus/b.wav", "language": "", "text": "costs $100"},
        "c": {"duration": 3.0, "wav": "/corpus/c/d.wav", "language": "NA", "text": "null"},
    }
    assert rows.column("language") == ["fra", "", "NA"] and rows.column("age") == ["", "", ""]
    assert list(rows.without(["b"])) == ["a", "c"] and "b" in rows and len(rows) == 3


def test_a_column_that_a_corpus_lacks_is_empty(tmp_path):
    (tmp_path / "a.csv").write_text("ID,duration,wav,age\na,1,a.wav,30\n")
    (tmp_path / "b.csv").write_text("ID,duration,wav,accent\nb,1,b.wav,north\n")
    corpora = [{"csv": tmp_path / f"{name}.csv", "data_root": "/x"} for name in "ab"]
    rows = load_corpora(corpora, "")
    assert rows["a"]["accent"] == "" and rows["b"]["age"] == "" and rows["a"]["age"] == "30"
