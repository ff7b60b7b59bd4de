"""Numeric: similarity of numbers."""

import math

import pytest
import torch

from masr_modules.data.metadata import MetadataTable
from masr_modules.knowledge import Numeric


def test_similarity_is_gaussian_in_the_difference():
    similarity, valid = Numeric("age", length_scale=10.0).pairs(
        torch.tensor([20.0]), torch.tensor([20.0, 30.0, 40.0])
    )
    expected = [1.0, math.exp(-0.5), math.exp(-2.0)]
    assert similarity[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert valid.all()


def test_missing_numbers_are_not_valid_and_zero():
    values = torch.tensor([0.0, math.nan])  # 0 is known
    similarity, valid = Numeric("valence", length_scale=1.0).pairs(values, values)
    assert similarity.tolist() == [[1, 0], [0, 0]]
    assert valid.tolist() == [[True, False], [False, False]]


def test_years_are_compared_to_the_year():
    years = torch.tensor([1998.0, 1999.0])
    similarity, _ = Numeric("year", length_scale=1.0).pairs(years, years)
    assert similarity[0, 1].item() == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_numbers_far_apart_are_alike_by_nothing():
    similarity, valid = Numeric("snr", length_scale=0.01).pairs(
        torch.tensor([-1e30]), torch.tensor([1e30])
    )
    assert similarity.item() < 1e-30 and valid.item()


def test_it_reads_a_column_of_a_corpus():
    rows = {"a": {"year": "1998"}, "b": {"year": ""}, "c": {"year": " 2000 "}}
    table = MetadataTable(rows)
    source = Numeric("year", length_scale=2.0, metadata=table)
    year = table(["a", "b", "c"])["year"]
    similarity, valid = source.pairs(year, year)
    assert similarity[0].tolist() == pytest.approx([1, 0, math.exp(-0.5)], rel=1e-6)
    assert valid[0].tolist() == [True, False, True]


@pytest.mark.parametrize("length_scale", [0, -3, math.nan, None])
def test_length_scale_must_be_above_zero(length_scale):
    with pytest.raises(ValueError, match="Numeric on 'age': length_scale"):
        Numeric("age", length_scale=length_scale)
