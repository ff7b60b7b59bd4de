"""What is told of languages where the test set says little."""

import logging
import math

import numpy as np
import pytest

from masr_modules.downstream.language_id import families, language_metrics, save_confusions
from masr_modules.metrics.predictions import Predictions


def predictions(truth, labels=("por", "spa")):
    posteriors = np.log(np.tile([0.8, 0.2], (len(truth), 1)))
    return Predictions.of([str(i) for i in range(len(truth))], labels, posteriors, truth)


def rows(truth, **columns):
    return {
        str(i): {"language": label, "duration": 2.0, **columns} for i, label in enumerate(truth)
    }


def test_a_test_set_of_one_language_has_no_cavg_and_all_else(caplog):
    truth = ["por", "por", "por"]
    with caplog.at_level(logging.WARNING):
        found = language_metrics(predictions(truth), rows(truth, family="Romance"))
    assert math.isnan(found.pop("cavg"))
    assert "fewer than two values of language: Cavg" in caplog.text
    assert found["top_3"] == 1.0 and found["family_error"] == 0.0


@pytest.mark.parametrize("columns", [{}, {"family": ""}])
def test_without_families_what_is_said_of_them_is_empty(columns, caplog):
    truth = ["por", "spa"]
    with caplog.at_level(logging.WARNING):
        found = language_metrics(predictions(truth), rows(truth, **columns))
    assert math.isnan(found["family_error"]) and math.isnan(found["within_family"])
    assert not math.isnan(found["cavg"])
    assert families(rows(truth, **columns)) == {}
    assert "has no known family" in caplog.text


def test_labels_with_formulas_in_them_are_drawn_as_they_are(tmp_path):
    pytest.importorskip("matplotlib")
    labels = (r"a $\frac{$", r"b $\nothing$ c $")
    save_confusions(tmp_path, predictions([labels[0], labels[1]], labels), {labels[0]: r"$\x$ $"})
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    table = (tmp_path / "confused.md").read_text()
    assert len(table.splitlines()) == 3 and r"b \$\nothing\$ c \$" in table
