"""SetOverlap: similarity of sets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from label_sources import all_pairs, corpus_of

from masr_modules.knowledge import SetOverlap, sets


def overlap(cells, **settings):
    return SetOverlap("tags", metadata=corpus_of("tags", cells), **settings)


def test_similarity_is_the_share_of_members_that_both_have():
    similarity, valid = all_pairs(overlap(["a|b", "b|c|d", "e"]))
    assert similarity[0].tolist() == [1.0, 0.25, 0.0]  # {b} of {a, b, c, d}
    assert valid.all()


def test_order_spaces_and_repetition_do_not_matter():
    similarity, _ = all_pairs(overlap(["a|b", "b|a", " a | b", "a|b|a|"]))
    assert (similarity == 1).all()


def test_a_cell_without_members_is_missing():
    similarity, valid = all_pairs(overlap(["a", " | "]))
    assert similarity.tolist() == [[1, 0], [0, 0]]
    assert valid.tolist() == [[True, False], [False, False]]


def test_another_separator():
    similarity, _ = all_pairs(overlap(["a;b|c", "b|c"], separator=";"))
    assert similarity[0, 1] == 0.5


@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=8), st.booleans())
def test_equals_python_sets_with_and_without_a_table(cells, large):
    cells = [*cells, set()]  # the last is missing
    codes = torch.tensor([*range(len(cells)), -1])
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(sets, "_LARGEST_TABLE", 0)
        source = overlap(["|".join(cell) for cell in cells])
        similarity, valid = source.pairs(codes, codes)
    cells = [*cells, set()]
    for i, a in enumerate(cells):
        for j, b in enumerate(cells):
            assert valid[i, j].item() == bool(a and b)
            expected = len(a & b) / len(a | b) if a and b else 0.0
            assert similarity[i, j].item() == pytest.approx(expected, abs=1e-6)


def test_a_vocabulary_of_thousands():
    source = overlap([f"t{i}|t{i + 1}" for i in range(5000)])
    similarity, _ = source.pairs(torch.tensor([7]), torch.tensor([6, 7, 8, 4999, -1]))
    assert similarity[0].tolist() == pytest.approx([1 / 3, 1, 1 / 3, 0, 0])


@pytest.mark.parametrize("separator", ["", " ", None])
def test_separator_must_not_be_blank(separator):
    with pytest.raises(ValueError, match="SetOverlap on 'tags': separator"):
        overlap(["a"], separator=separator)
