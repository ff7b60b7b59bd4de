"""Combination against a double loop."""

import pytest
import torch
from reference import similarity_loop

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge import Categorical
from masr_modules.pairwise.similarity import combine

COLUMNS = {
    "language": ["a", "a", "b", "", "b", "c"],
    "speaker": ["x", "", "x", "y", "z", "z"],
    "gender": ["f", "m", "", "m", "f", ""],
}


def test_equals_a_double_loop():
    metadata = Metadata.from_columns(COLUMNS)
    sources = [Categorical("speaker", weight=1.0), Categorical("gender", weight=0.5)]
    similarity = combine(sources, metadata)
    pairs = [source.pairs(metadata[source.column], metadata[source.column]) for source in sources]
    values, valid = similarity_loop(pairs, [1.0, 0.5])
    torch.testing.assert_close(similarity.values, torch.tensor(values))
    assert torch.equal(similarity.valid, torch.tensor(valid))


def test_identity_makes_the_pairs_and_a_missing_one_makes_none():
    similarity = combine([], Metadata.from_columns(COLUMNS))
    assert similarity.positive[0].tolist() == [False, True, False, False, False, False]
    assert similarity.negative[0].tolist() == [False, False, True, False, True, True]
    assert not similarity.positive[3].any() and not similarity.negative[3].any()
    assert not similarity.negative[:, 3].any()


def test_without_identity_pairs_come_from_the_thresholds():
    metadata = Metadata.from_columns({"speaker": ["x", "x", "y", ""]})
    similarity = combine([Categorical("speaker")], metadata, identity=None)
    assert similarity.positive[0].tolist() == [False, True, False, False]
    assert similarity.negative[0].tolist() == [False, False, True, False]


def test_the_same_recording_among_the_candidates_is_no_pair():
    metadata = Metadata.from_columns({"language": ["a", "a", "b"]})
    metadata.ids = torch.tensor([7, 8, 9])
    candidates = metadata.select(torch.tensor([2, 0, 1]))
    similarity = combine([], metadata, candidates=candidates)
    assert similarity.positive[0].tolist() == [False, False, True]
    assert similarity.negative[0].tolist() == [True, False, False]


def test_a_weight_of_zero_is_no_knowledge():
    similarity = combine([Categorical("speaker", weight=0.0)], Metadata.from_columns(COLUMNS))
    assert not similarity.valid.any() and not similarity.values.any()


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="accent.*language"):
        combine([Categorical("accent")], Metadata.from_columns(COLUMNS))
