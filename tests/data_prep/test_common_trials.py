"""Lists of trials as preparations write them and users change them."""

import pytest

from data_prep.common.trials import read_trials, remove_trials, trials_path, write_trials

HEADER = "enrol,test,target\n"


def test_what_is_written_is_read(tmp_path):
    trials = [("a, é", "b", 1), ("a, é", 'c"', 0)]
    path = trials_path(str(tmp_path / "csv"), "O")
    assert write_trials(path, iter(trials)) == 2
    assert read_trials(path) == trials


def test_other_columns_orders_and_a_bom_do_no_harm(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_bytes("\ufefftarget,note,test,enrol\r\n1,é,b,a\r\n".encode())
    assert read_trials(str(path)) == [("a", "b", 1)]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "line 1: no column enrol, test, target .found: none"),
        ("1 a b\n", "line 1: no column enrol, test, target .found: 1 a b.*has the columns"),
        ("enrol,test\na,b\n", "line 1: no column target .found: enrol, test"),
        (HEADER + "a,b,1\n,b,0\n", "line 3: column enrol is empty"),
        (HEADER + "a\n", "line 2: column test is empty; give the ID"),
        (HEADER + "a,b,target\n", "line 2: column target is 'target'; give 1 .* or 0"),
        (HEADER + "a,b\n", "line 2: column target is ''"),
        (HEADER + "a,b,1,0\n", "line 2: more cells than columns"),
        (HEADER, "no trial; .* two or more known speakers"),
    ],
)
def test_a_wrong_list_names_file_line_and_column(tmp_path, text, problem):
    path = tmp_path / "trials_O.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"trials_O.csv.*{problem}"):
        read_trials(str(path))


def test_a_list_that_is_not_utf8_says_so(tmp_path):
    path = tmp_path / "trials_O.csv"
    path.write_bytes(HEADER.encode() + b"caf\xe9,b,1\n")
    with pytest.raises(ValueError, match="trials_O.csv, line 2: is not UTF-8"):
        read_trials(str(path))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="trials_O.csv: no such list"):
        read_trials(trials_path(str(tmp_path), "O"))


def test_lists_of_another_run_are_removed_and_nothing_else(tmp_path):
    for name in ("O", "mine"):
        write_trials(trials_path(str(tmp_path), name), [("a", "b", 1)])
    remove_trials(str(tmp_path), ["O", "E"])
    assert [path.name for path in tmp_path.iterdir()] == ["trials_mine.csv"]
