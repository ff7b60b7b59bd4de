"""TableSource: a user's own matrix, good and bad."""

import re

import numpy as np
import pytest
from label_sources import all_pairs, corpus_of

from masr_modules.knowledge import TableSource

GOOD = ",x,y,z\nx,1,0.5,\ny,0.5,1,0\nz,,0,1\n"


def csv(folder, text, name="accents.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def npz(folder, **arrays):
    path = folder / "accents.npz"
    np.savez(path, **arrays)
    return path


def pairs(path, labels, **settings):
    return all_pairs(TableSource("accent", path, metadata=corpus_of("accent", labels), **settings))


def test_csv_is_looked_up_by_label(tmp_path):
    similarity, valid = pairs(csv(tmp_path, GOOD), ["z", "x", "y"])
    assert similarity.tolist() == [[1, 0, 0], [0, 1, 0.5], [0, 0.5, 1]]
    assert valid.tolist() == [[True, False, True], [False, True, True], [True, True, True]]


def test_npz_is_looked_up_by_label(tmp_path):
    path = npz(
        tmp_path,
        labels=np.array(["é", "b"]),
        similarity=np.array([[1, 0.25], [0.25, 1]], dtype=np.float16),
    )
    similarity, _ = pairs(path, ["b", "é"])
    assert similarity.tolist() == [[1, 0.25], [0.25, 1]]


def test_csv_of_a_spreadsheet(tmp_path):
    text = '\ufeff"label","a, b"," c "\r\n"a, b",1.0, 0.3 \r\n" c ",0.3,1\r\n\r\n'
    similarity, _ = pairs(csv(tmp_path, text), ["a, b", "c"])
    assert similarity[0, 1].item() == pytest.approx(0.3)


def test_label_not_known_even_to_itself(tmp_path):
    _, valid = pairs(csv(tmp_path, ",x,y\nx,,\ny,,1\n"), ["x", "y"])
    assert valid.tolist() == [[False, False], [False, True]]


def test_label_that_the_table_lacks_names_source_column_label_and_file(tmp_path):
    message = "TableSource on 'accent': label 'w' in column 'accent'.*accents.csv.*no such label"
    with pytest.raises(ValueError, match=message):
        pairs(csv(tmp_path, GOOD), ["x", "w"])


def test_label_that_the_table_lacks_can_count_as_missing(tmp_path, caplog):
    _, valid = pairs(csv(tmp_path, GOOD), ["x", "w"], on_unknown="missing")
    assert valid.tolist() == [[True, False], [False, False]]
    assert "nothing is known of w" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (",\n", "the file is empty"),
        ("label\n", "the table has no labels"),
        (",x,y\nx,1,0.5\n", "2 labels need a square table, not (1, 2)"),
        (",x\nx,1\ny,1\n", "line 3: row 'y' stands where the header has nothing"),
        (",x,y\ny,1,0\nx,0,1\n", "line 2: row 'y' stands where the header has 'x'"),
        (",x,y\nx,1\ny,0,1\n", "line 2: row 'x' has 1 of 2 cells"),
        (",x,y\nx,1,0,5\ny,0,1\n", "line 2: row 'x' has 3 of 2 cells"),
        (",x,y\nx,1,near\ny,0,1\n", "line 2: row 'x', column 'y': 'near' is not a number"),
        (",x,x\nx,1,1\nx,1,1\n", "label 'x' comes twice"),
        (",x,\nx,1,0\n,0,1\n", "label 2 is empty"),
        (",x,y\nx,1,1.5\ny,1.5,1\n", "row 'x', column 'y': 1.5 is not in [0, 1]"),
        (",x,y\nx,1,-0.1\ny,-0.1,1\n", "row 'x', column 'y': -0.1 is not in [0, 1]"),
        (",x,y\nx,1,inf\ny,inf,1\n", "row 'x', column 'y': inf is not in [0, 1]"),
        (",x,y\nx,1,0\ny,0,0.9\n", "row 'y', column 'y': 0.9 is not 1"),
        (",x,y\nx,1,0.2\ny,0.3,1\n", "row 'x', column 'y': 0.2 differs from 0.3"),
        (",x,y\nx,1,0.2\ny,,1\n", "row 'x', column 'y': 0.2 differs from nan"),
    ],
)
def test_a_broken_csv_is_named_with_file_row_and_column(tmp_path, text, words):
    path = csv(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"TableSource on 'accent': {path}: {words}")):
        TableSource("accent", path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": np.array(["x"])}, "no array similarity"),
        ({"labels": np.array([1]), "similarity": np.eye(1)}, "labels must be strings"),
        ({"labels": np.array(["x"], object), "similarity": np.eye(1)}, "allow_pickle"),
        ({"labels": np.array(["x"]), "similarity": np.array([["1"]])}, "must hold numbers"),
        ({"labels": np.array(["x", "y"]), "similarity": np.eye(3)}, "need a square table"),
        ({"labels": np.array(["x", "x"]), "similarity": np.eye(2)}, "'x' comes twice"),
    ],
)
def test_a_broken_npz_is_named(tmp_path, arrays, words):
    path = npz(tmp_path, **arrays)
    with pytest.raises(ValueError, match=f"TableSource on 'accent': {path}.*{words}"):
        TableSource("accent", path)


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_npz_is_named(tmp_path, content):
    path = npz(tmp_path, labels=np.array(["x"]), similarity=np.eye(1))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ValueError, match=f"{path}"):
        TableSource("accent", path)


def test_a_csv_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "accents.csv"
    path.write_bytes(",é\né,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=f"{path}"):
        TableSource("accent", path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="TableSource on 'accent': .*none.csv"):
        TableSource("accent", tmp_path / "none.csv")


def test_another_kind_of_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a .csv or an .npz"):
        TableSource("accent", csv(tmp_path, GOOD, "accents.xlsx"))
