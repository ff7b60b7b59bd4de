"""Tables, skips, layouts, CSVs and the command line of the preparations."""

import pytest
from trees import read_splits, write_wav

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.tables import NOT_UTF8, read_table
from data_prep.common.writing import is_prepared, write_corpus
from masr_modules.config.files import atomic_file


def row(name, **cells):
    return {"ID": name, "wav": f"$data_root/{name}.wav", "duration": 1.0} | cells


# Tables


def test_table_takes_bom_crlf_and_empty_lines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid, age \r\n\r\n"a, b" ,30\r\n   \r\nc,"3""1"\n')
    skips = SkipRegister()
    rows = list(read_table(str(path), skips, delimiter=",", quoted=True))
    assert rows == [
        (f"{path}, line 3", {"id": "a, b", "age": "30"}),
        (f"{path}, line 5", {"id": "c", "age": '3"1'}),
    ]
    assert not skips.report()


def test_table_without_quoting_keeps_quotes_and_odd_line_separators(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('1\t"open\n2\ta\u2028b"c\n', encoding="utf-8")
    texts = [r["text"] for _, r in read_table(str(path), SkipRegister(), columns=("id", "text"))]
    assert texts == ['"open', 'a\u2028b"c']


def test_malformed_lines_are_counted_with_their_place(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"id\ttext\n1\n2\ta\tb\n3\t\xff\n4\tfine\n")
    skips = SkipRegister()
    assert [r["id"] for _, r in read_table(str(path), skips)] == ["4"]
    assert skips.skipped == {"malformed line in the table": 2, NOT_UTF8: 1}
    assert f"{path}, line 2: 1 cells, expected 2" in skips.report()


def test_table_without_a_required_column(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("id\ttext\n")
    with pytest.raises(ValueError, match=r"t.tsv, line 1: no column speaker \(found: id, text\)"):
        list(read_table(str(path), SkipRegister(), required=["id", "speaker"]))


# Skips


def test_too_many_skips_are_an_error_that_names_the_first():
    skips = SkipRegister(limit=0.1)
    skips.kept = 17
    for number in range(3):
        skips.skip("audio: no such file", f"clip{number}.wav")
    with pytest.raises(ValueError, match="15.0%.* 10.0%(.|\n)*left out 3 of 20: .*clip0.wav"):
        skips.check()


def test_nothing_left_is_an_error_whatever_the_limit():
    with pytest.raises(ValueError, match="no utterance is left"):
        SkipRegister(limit=1.0).check()


def test_only_the_first_cases_are_kept():
    skips = SkipRegister(limit=1.0)
    for number in range(1000):
        skips.skip("broken", f"case {number}")
    assert "left out 1000 of 1000" in skips.report() and "case 4; ..." in skips.report()


# Layout and languages


def test_wrong_folder_says_what_was_expected_and_what_is_there(tmp_path):
    (tmp_path / "fleurs/data/fr_fr").mkdir(parents=True)
    (tmp_path / "fleurs/data/fr_fr/train.tsv").touch()
    layout = {"data/*/train.tsv": "table of a language"}
    expect_layout(str(tmp_path / "fleurs"), "FLEURS", layout)
    with pytest.raises(FileNotFoundError) as error:
        expect_layout(str(tmp_path), "FLEURS", layout)
    message = str(error.value)
    assert "does not look like FLEURS" in message
    assert "data/*/train.tsv: table of a language" in message
    assert "Found there: fleurs" in message
    assert f"{tmp_path / 'fleurs'} looks right" in message


def test_one_folder_too_deep_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "meta.csv").touch()
    with pytest.raises(FileNotFoundError, match="looks right"):
        expect_layout(str(tmp_path / "data"), "X", {"meta.csv": "table"})


def test_language_columns_stay_empty_where_the_code_is():
    assert language_cells("") == {}
    assert language_cells("pt_br")["region"] == "BR"


# CSVs


def test_csvs_have_every_column_and_the_summary_says_what_is_known(tmp_path):
    rows = [("train", row("a", speaker="s", variant="x")), ("test", row("b", language="fra"))]
    summary = write_corpus(str(tmp_path), iter(rows), {}, extra_columns=["variant"])
    written = read_splits(tmp_path)
    assert written["train"][0]["variant"] == "x" and written["test"][0]["variant"] == ""
    assert written["valid"] == [] and written["test"][0]["text"] == ""
    assert "known in train: speaker 100 %, variant 100 %" in summary
    assert "known in test: language 100 %" in summary


@pytest.mark.parametrize(
    "bad, problem",
    [
        ([row("a"), row("a")], "row 3: ID 'a' comes twice"),
        ([row("a", duration=None)], "row 2: no value in one of ID, duration, wav"),
        ([row("a", colour="red")], "'colour'.* not in extra_columns"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_written(tmp_path, bad, problem):
    with pytest.raises(ValueError, match=problem):
        write_corpus(str(tmp_path), (("train", r) for r in bad), {})
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_the_old_csvs_alone(tmp_path):
    write_corpus(str(tmp_path), [("train", row("old"))], {"seed": 1})

    def interrupted():
        yield "train", row("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(str(tmp_path), interrupted(), {"seed": 2})
    assert read_splits(tmp_path)["train"][0]["ID"] == "old"
    assert is_prepared(str(tmp_path), {"seed": 1})
    assert len(list(tmp_path.iterdir())) == 4


def test_a_lost_csv_is_made_again(tmp_path):
    write_corpus(str(tmp_path), [("train", row("a"))], {"languages": ("fr", "de")})
    assert is_prepared(str(tmp_path), {"languages": ("fr", "de")})
    (tmp_path / "valid.csv").unlink()
    assert not is_prepared(str(tmp_path), {"languages": ("fr", "de")})


def test_too_many_skips_write_nothing(tmp_path):
    skips = SkipRegister(limit=0.0)
    skips.kept = 1
    skips.skip("broken", "b.wav")
    with pytest.raises(ValueError, match="b.wav"):
        write_corpus(str(tmp_path), [("train", row("a"))], {}, skips)
    assert not list(tmp_path.iterdir())


def test_a_value_on_two_sides_is_an_error(tmp_path):
    rows = [("train", row("a", speaker="s")), ("test", row("b", speaker="s"))]
    with pytest.raises(AssertionError, match="speaker 's' is in both train and test"):
        write_corpus(str(tmp_path), rows, {}, disjoint=[("speaker",)])
    write_corpus(str(tmp_path), rows, {}, disjoint=[("speaker", "text")])


def test_unknown_values_are_not_the_same_value():
    check_disjoint({"train": [{"speaker": ""}], "test": [{"speaker": ""}, {}]}, ("speaker",))
    with pytest.raises(AssertionError, match="speaker 's' is in both train and test"):
        check_disjoint({"train": [{"speaker": "s"}], "test": [{"speaker": "s"}, {}]}, ("speaker",))


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(str(tmp_path / "a")) as temporary:
        open(temporary, "w").close()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


# Command line


def prepare_toy(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    columns: dict[str, str] | None = None,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares a toy corpus.

    Arguments
    ---------
    data_folder : str
        Folder of
        the corpus.
    languages : list of str, optional
        100 % of the codes.
    """
    if languages == ["xx"]:
        raise ValueError("unknown language xx")
    text = repr((languages, columns, skip_limit, skip_prep))
    write_corpus(save_folder, [("train", row("a", text=text))], {})


def test_command_line_follows_the_function(tmp_path, capsys):
    folders = ["--data_folder", str(tmp_path), "--save_folder", str(tmp_path / "csv")]
    options = ["--languages", "fr", "de", "--columns", "text=Satz", "--skip_limit", "0.5"]
    run(prepare_toy, [*folders, *options])
    text = read_splits(tmp_path / "csv")["train"][0]["text"]
    assert text == "(['fr', 'de'], {'text': 'Satz'}, 0.5, False)"
    with pytest.raises(SystemExit):
        run(prepare_toy, ["--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "Prepares a toy corpus." in help_text
    assert "Folder of the corpus." in help_text and "100 % of the codes." in help_text


def test_command_line_ends_with_the_error_alone(tmp_path):
    with pytest.raises(SystemExit, match="^error: unknown language xx$"):
        run(prepare_toy, ["--data_folder", "a", "--save_folder", "b", "--languages", "xx"])


def test_check_lists_what_cannot_be_decoded(tmp_path, capsys):
    folders = ["--data_folder", str(tmp_path), "--save_folder", str(tmp_path / "csv")]
    with pytest.raises(SystemExit, match="1 files are broken"):
        run(prepare_toy, [*folders, "--check", "all"])
    assert f"{tmp_path}/a.wav: no such file" in capsys.readouterr().out
    write_wav(tmp_path / "a.wav")
    run(prepare_toy, [*folders, "--check", "1"])
    assert "sound" in capsys.readouterr().out
