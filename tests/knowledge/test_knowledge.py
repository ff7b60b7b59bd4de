"""What holds of every knowledge source; Categorical."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masr_modules.knowledge import (
    Categorical,
    Geographic,
    KnowledgeSource,
    LabelSource,
    LanguageDistance,
    Numeric,
    SetOverlap,
    TableSource,
    numeric_columns,
)

LABELS = {
    "LanguageDistance": ["eng", "deu", "epo", "fin", "ast", "eus"],
    "Geographic": ["en", "de", "nob", "nno", "mri"],
    "Geographic of regions": ["DE", "FJ", "NZ", "US"],
    "Categorical": ["a", "b", "c"],
    "SetOverlap": ["a", "a|b", "b|a", "c", "|", "a|b|c|d"],
    "TableSource": ["x", "y", "z"],
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One bound source of each kind that compares labels."""
    folder = tmp_path_factory.mktemp("knowledge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        (folder / "t.csv").write_text(",x,y,z\nx,1,0.5,\ny,0.5,1,0\nz,,0,1\n")
        built = {
            "LanguageDistance": LanguageDistance("language", kinds="genetic"),
            "Geographic": Geographic("language"),
            "Geographic of regions": Geographic("region", kind="region"),
            "Categorical": Categorical("speaker"),
            "SetOverlap": SetOverlap("tags"),
            "TableSource": TableSource("accent", folder / "t.csv"),
        }
        for name, source in built.items():
            source.bind(LABELS[name])
    return built


def check_pairs(source, values, missing):
    """The contract of `pairs` where rows and columns are the same utterances."""
    similarity, valid = source.pairs(values, values)
    assert similarity.shape == valid.shape == (len(values), len(values))
    assert (similarity.dtype, valid.dtype) == (torch.float32, torch.bool)
    assert ((similarity >= 0) & (similarity <= 1)).all()
    assert torch.equal(similarity, similarity.T) and torch.equal(valid, valid.T)
    assert not similarity[~valid].any()
    assert not valid[missing].any() and not valid[:, missing].any()
    equal = (values.unsqueeze(1) == values.unsqueeze(0)) & valid
    assert (similarity[equal] == 1).all()


# Every source


@pytest.mark.parametrize("name", list(LABELS))
@given(data=st.data())
def test_similarity_of_labels_keeps_the_contract(name, sources, data):
    codes = st.integers(-1, len(LABELS[name]) - 1)
    codes = torch.tensor(data.draw(st.lists(codes, max_size=12)), dtype=torch.long)
    check_pairs(sources[name], codes, codes < 0)


@given(
    st.lists(
        st.one_of(st.just(math.nan), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        max_size=12,
    ),
    st.floats(0.01, 1e6),
)
def test_similarity_of_numbers_keeps_the_contract(values, length_scale):
    values = torch.tensor(values, dtype=torch.float32)
    check_pairs(Numeric("age", length_scale), values, values.isnan())


@pytest.mark.parametrize("name", list(LABELS))
def test_few_rows_and_many_rows_give_the_same(name, sources):
    # Tables are gathered the shorter side first: both ways are looked at.
    codes = torch.arange(-1, len(LABELS[name]))
    many, many_valid = sources[name].pairs(codes.repeat(3), codes)
    few, few_valid = sources[name].pairs(codes[:2], codes)
    assert torch.equal(many[:2], few) and torch.equal(many_valid[:2], few_valid)


@pytest.mark.parametrize("name", list(LABELS))
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "heavy", None])
def test_weight_must_be_a_number_of_at_least_zero(name, weight, sources):
    kind = type(sources[name])
    arguments = {Numeric: {"length_scale": 1.0}, TableSource: {"path": "t.csv"}}.get(kind, {})
    with pytest.raises(ValueError, match=f"{kind.__name__} on 'speaker': weight"):
        kind("speaker", weight=weight, **arguments)


def test_weight_zero_is_allowed():
    assert Categorical("speaker", weight=0).weight == 0.0


def test_column_needs_a_name():
    with pytest.raises(ValueError, match="CSV column"):
        Categorical("")


def test_sources_say_what_they_read(sources):
    assert {source.reads for source in sources.values()} == {"labels"}
    assert Numeric("age", length_scale=1.0).reads == "numbers"
    assert all(isinstance(source, KnowledgeSource) for source in sources.values())


# Numeric columns


def test_any_column_is_numeric_where_a_source_reads_numbers():
    sources = [Categorical("speaker"), Numeric("year", 5.0), Numeric("age", 10.0)]
    assert numeric_columns(sources) == {"year", "age"}


@pytest.mark.parametrize("column", ["year", "age"])
def test_labels_of_a_numeric_column_are_an_error(column):
    with pytest.raises(ValueError, match=f"Categorical on '{column}'.*numbers.*use Numeric"):
        numeric_columns([Numeric("year", 5.0), Categorical(column)])


# Sources of labels


class Known(LabelSource):
    """Compares the labels that it is given; others are unknown."""

    def similarities(self, vocabulary):
        found = self._find(vocabulary, {"a": 1, "b": 2}.__getitem__)
        return np.array([[float(x == y) for x in found] for y in found])


def test_unknown_choice_for_unknown_labels_is_an_error():
    with pytest.raises(ValueError, match="Known on 'x': on_unknown"):
        Known("x", on_unknown="ignore")


def test_pairs_before_bind_is_an_error():
    with pytest.raises(RuntimeError, match="Known on 'x': call bind"):
        Known("x").pairs(torch.tensor([0]), torch.tensor([0]))


def test_a_validity_with_many_patterns_is_kept():
    class Gaps(LabelSource):
        def similarities(self, vocabulary):
            return table

    nan = math.nan
    table = np.array([[1.0, nan, 0.5], [nan, 1.0, 0.25], [0.5, 0.25, nan]])
    source = Gaps("x")
    source.bind(["a", "b", "c"])
    similarity, valid = source.pairs(torch.arange(3), torch.arange(3))
    assert similarity.tolist() == [[1, 0, 0.5], [0, 1, 0.25], [0.5, 0.25, 0]]
    assert valid.tolist() == [[True, False, True], [False, True, True], [True, True, False]]


# Categorical


def test_categorical_is_one_where_labels_are_equal():
    similarity, _ = Categorical("speaker").pairs(torch.tensor([0, 1]), torch.tensor([1, 0, 1]))
    assert similarity.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert similarity.dtype == torch.float32


def test_categorical_missing_on_either_side_is_not_valid():
    similarity, valid = Categorical("speaker").pairs(torch.tensor([0, -1]), torch.tensor([0, -1]))
    assert valid.tolist() == [[True, False], [False, False]]
    assert similarity.tolist() == [[1, 0], [0, 0]]  # two missing labels are not equal
