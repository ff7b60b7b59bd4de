"""The text of CSVs: it is read as it was meant, or an error names the line."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masr_modules.data.corpus import load_csv
from masr_modules.data.labels import trim_cell

HEAD = "ID,duration,wav,language,text\n"


def read(folder, content):
    path = folder / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_csv(path, "/x")


@pytest.mark.parametrize(
    "rows, line",
    [
        ('a,1,a.wav,fra,"open\nb,1,b.wav,fra,so\n', 2),
        ('a,1,a.wav,fra,so\nb,1,b.wav,fra,"open\nc,1,c.wav,fra,so\nd,1,d.wav,fra,"open\n', 3),
        ('a,1,a.wav,fra,"open\nb,1,b.wav,fra,so\nc,1,c.wav,fra,end"\n', 2),
        ('a,1,a.wav,fra,"open\nb,1,b.wav,fra,end"\n', 2),
        ('a,1,a.wav,"fra,so\nb,1,b.wav,deu",so\n', 2),
        ('a,1,a.wav,fra,"Yes" he said\n', 2),
        ('a,1,a.wav,fra,"""\nb,1,b.wav,fra, """\n', 2),
        ('a, 1, a.wav, fra, "open\nb, 1, b.wav, fra, so"\n', 2),
    ],
)
def test_an_open_quotation_mark_is_an_error_that_names_its_line(tmp_path, rows, line):
    with pytest.raises(ValueError, match=rf"train.csv, line {line}: .* quot"):
        read(tmp_path, HEAD + rows)


def test_a_quotation_mark_in_an_id_swallows_no_row(tmp_path):
    with pytest.raises(ValueError, match="line 3: ID holds a line break"):
        read(tmp_path, HEAD + '"a,1,a.wav,fra,so\nb",1,b.wav,fra,so\n')


def test_quotation_marks_and_line_breaks_of_a_text_are_read(tmp_path):
    rows = 'a,1,a.wav,fra,"one\ntwo, three"\nb,1,b.wav,fra,he said "yes"\nc,1,c.wav,,"""a"", b"\n'
    texts = read(tmp_path, HEAD + rows).column("text")
    assert texts == ["one\ntwo, three", 'he said "yes"', '"a", b']


def test_blanks_beside_quotation_marks_are_outside_of_the_cell(tmp_path):
    rows = 'a,1,a.wav, "fra" ,"so, "\n"b", 1, "b.wav",deu, "say ""a"" , b" \n'
    found = read(tmp_path, HEAD + rows)
    assert found.column("text") == ["so,", 'say "a" , b']
    assert found.column("language") == ["fra", "deu"]


def test_a_null_byte_is_an_error_that_names_its_line(tmp_path):
    with pytest.raises(ValueError, match="line 3: holds a null byte"):
        read(tmp_path, HEAD + "a,1,a.wav,fra,x\nb,1,b\0.wav,fra,x\n")


@pytest.mark.parametrize(
    "encoding, message",
    [
        ("latin-1", "line 2: is not UTF-8, but perhaps Latin-1: save it as UTF-8"),
        ("utf-16", "is UTF-16: save it as UTF-8"),
        ("utf-16-le", "UTF-16: save it as UTF-8"),
        ("utf-32", "is UTF-32: save it as UTF-8"),
    ],
)
def test_other_encodings_are_errors_that_name_file_and_remedy(tmp_path, encoding, message):
    with pytest.raises(ValueError, match=f"train.csv.*{message}"):
        read(tmp_path, (HEAD + "a,1,a.wav,fra,été\n").encode(encoding))


@pytest.mark.parametrize(
    "content, message",
    [
        ("ID,duration,wav,language,language\na,1,a.wav,x,y\n", "column 'language' comes twice"),
        ("ID,duration,wav,language,language \na,1,a.wav,x,y\n", "column 'language' comes twice"),
        ("ID;duration;wav\na;1,5;a.wav\n", "semicolons stand between the columns"),
        ("ID\tduration\twav\na\t1\ta.wav\n", "tabs stand between the columns"),
        (
            HEAD.replace("\n", "\r") + "a,1,a.wav,x,y\r",
            "line 1: a carriage return stands in a cell",
        ),
        (HEAD + "a,1,a.wav\n", r"line 2: the row's number of cells \(3\) differs .* \(5\)"),
        ('ID,duration,wav\na,"1,5",a.wav\n', "line 2: .* is '1,5', not .* has a decimal point"),
    ],
)
def test_tables_of_another_form_say_what_is_wrong(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_blanks_after_commas_and_columns_without_a_name_do_no_harm(tmp_path):
    rows = read(tmp_path, ",ID, duration, wav, language,,\n0,a, 1.5, a.wav, fra ,,\n")
    assert dict(rows.items()) == {"a": {"duration": 1.5, "wav": "/x/a.wav", "language": "fra"}}


@pytest.mark.parametrize(
    "root, wav, path",
    [
        ("wav", "a.wav", "wav/a.wav"),
        ("wav", "fr/a.wav", "wav/fr/a.wav"),
        ("data", "mydata/a.wav", "data/mydata/a.wav"),
        ("/c", "d/c/a.wav", "/c/d/c/a.wav"),
        ("c", "/abs/c.wav", "/abs/c.wav"),
        ("/c/", "$data_root/a.wav", "/c/a.wav"),
        ("/c", "${data_root}/a.wav", "/c/a.wav"),
        ("/c", "$data_root_x/a.wav", "/c/$data_root_x/a.wav"),
        ("/c", "x$data_root/a.wav", "/c/x$data_root/a.wav"),
        ("c", "$data_root//a.wav", "c/a.wav"),
        ("/", "$data_root/a.wav", "/a.wav"),
        ("", "a.wav", "a.wav"),
    ],
)
def test_the_root_stands_where_a_path_begins_and_not_inside_it(tmp_path, root, wav, path):
    (tmp_path / "a.csv").write_text(f"ID,duration,wav\na,1,{wav}\n")
    assert load_csv(tmp_path / "a.csv", root)["a"]["wav"] == path


def test_the_root_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    (tmp_path / "a.csv").write_text("ID,duration,wav\na,1,a.wav\n")
    assert load_csv(tmp_path / "a.csv", "~/c")["a"]["wav"] == "/home/x/c/a.wav"


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(texts=st.lists(CELLS | st.sampled_from(['"', '","', '\n"', '"a" b', "a\nb"]), max_size=5))
def test_what_csv_writes_is_read_row_by_row_or_refused(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ID", "duration", "wav", "note", "text"])
        writer.writerows([f"u{i}", 1, "a.wav", "", text] for i, text in enumerate([*texts, "x"]))
    try:
        rows = load_csv(path, "/x")
    except ValueError as error:
        assert "looks like rows" in str(error)
        return
    assert list(rows) == [f"u{i}" for i in range(len(texts) + 1)]
    assert [len(trim_cell(t)) == 0 for t in texts] == [not t for t in rows.column("text")[:-1]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts=st.lists(st.text('ab",\n ', max_size=6), min_size=1, max_size=5))
def test_cells_joined_by_commas_lose_no_row_in_silence(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    texts = [text.replace(",", "").replace("\n", "") for text in texts]
    rows = [f"u{i},1,a.wav,n,{text}\n" for i, text in enumerate(texts)]
    path.write_text("ID,duration,wav,note,text\n" + "".join(rows))
    try:
        found = load_csv(path, "/x")
    except ValueError as error:
        assert "line " in str(error)
    else:
        assert list(found) == [f"u{i}" for i in range(len(texts))]
