"""The index of results: figures where there are some, else what the row says."""

import pytest

from masr_modules.reporting.results_index import Figures, ResultsIndex

ROW = "  - {yaml: %s, train: A, evaluation: B, page: %s}\n"


def index(tmp_path, *rows):
    path = tmp_path / "results.yaml"
    text = "release: 1.2\nhardware: 2 CPU cores\nexperiments:\n"
    path.write_text(text + "".join(ROW % row for row in rows))
    return ResultsIndex(path)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_its_figures_and_links_from_the_pages_folder(tmp_path):
    runs = [{"cer": 0.25, "cost": 0.5}, {"cer": 0.35, "cost": 0.5}]
    columns = [("CER", "cer", "share"), ("cost", "cost", "cost")]
    figures = {"a.yaml": Figures(runs, runs[1:], columns, ", frozen", "3 s")}
    table = index(tmp_path, ("a.yaml", "recipes/asr/README.md#results")).table(
        figures, "docs/results"
    )
    assert cells(table.splitlines()[2]) == [
        *("1.2", "[a.yaml](../../hparams/a.yaml), frozen", "A", "B", "CER (%) / cost"),
        *("30.0 ± 7.1 / 0.500", "35.0 / 0.500", "2; SSL only 1", "2 CPU cores", "3 s"),
        "[asr](../../recipes/asr/README.md#results)",
    ]


def test_a_row_without_figures_says_so_and_has_no_release(tmp_path):
    table = index(tmp_path, ("a.yaml", "docs/a.md")).table({}, "docs/results")
    row = cells(table.splitlines()[2])
    assert row[0] == "" and row[5] == "not run" and row[6:10] == [""] * 4
    assert row[10] == "[a](../a.md)"


def test_two_rows_of_one_yaml_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"results.yaml: a.yaml has several rows"):
        index(tmp_path, ("a.yaml", "docs/a.md"), ("b.yaml", "docs/b.md"), ("a.yaml", "docs/c.md"))
