"""The examples run as their first lines say, and the loss of one's own in the recipe too."""

import json
import re
import runpy

import notebooks
import pytest
from conftest import ROOT

EXAMPLES = ROOT / "examples"


def test_every_example_has_a_test():
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert names == {"custom_loss.py", "pairs_only.py", "quickstart.ipynb"}


def test_pairs_alone_train_a_model_of_ones_own(capsys):
    runpy.run_path(str(EXAMPLES / "pairs_only.py"), run_name="__main__")
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert len(losses) == 5 and losses[-1] < 0.2 * losses[0]


def test_a_loss_of_ones_own_pushes_the_relative_away_hardest(capsys):
    runpy.run_path(str(EXAMPLES / "custom_loss.py"), run_name="__main__")
    printed = capsys.readouterr().out
    catalan, german = (float(x) for x in re.findall(r"[\d.]+", printed))
    assert catalan > german > 0


def test_the_notebook_shows_what_it_gives():
    notebook = notebooks.load(EXAMPLES / "quickstart.ipynb")
    shown, names = notebooks.run(notebook)
    for number, (cell, (printed, value)) in enumerate(
        zip(notebooks.code_cells(notebook), shown, strict=True), start=1
    ):
        assert cell["outputs"] == notebooks.outputs(printed, value, number), f"cell {number}"
    assert names["losses"][0] > 2 * names["losses"][-1]
    assert not any(cell.get("attachments") for cell in notebook["cells"])


@pytest.mark.slow
def test_a_loss_of_ones_own_takes_the_place_of_the_recipes(
    pretrain, arguments, monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    loss = "!new:custom_loss.WeightedNCE [0.1, 0.5]"
    pretrain.main(arguments("masr.yaml", prototypes="null", loss=loss))
    assert "custom_loss.WeightedNCE" in (tmp_path / "out/hyperparams.yaml").read_text()
    assert "train masr:" in (tmp_path / "out/train_log.txt").read_text()
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert 0 <= results["MASR"]["knn"] <= 1
