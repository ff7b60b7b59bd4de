"""What holds of every knowledge source; Categorical."""

import ast
import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from hypothesis import given
from hypothesis import strategies as st
from label_sources import corpus_of

from masr_modules import knowledge
from masr_modules.data.metadata import Metadata, MetadataTable
from masr_modules.knowledge import (
    Categorical,
    Geographic,
    KnowledgeSource,
    LabelSource,
    LanguageDistance,
    Numeric,
    RandomSimilarity,
    SetOverlap,
    TableSource,
    build_sources,
    source_settings,
)

LABELS = {
    "LanguageDistance": ["eng", "deu", "epo", "fin", "ast", "eus"],
    "Geographic": ["en", "de", "nob", "nno", "mri"],
    "Geographic of regions": ["DE", "FJ", "NZ", "US"],
    "Categorical": ["a", "b", "c"],
    "SetOverlap": ["a", "a|b", "b|a", "c", "|", "a|b|c|d"],
    "TableSource": ["x", "y", "z"],
    "RandomSimilarity": ["a", "b", "c"],
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One source of each kind that compares labels."""
    folder = tmp_path_factory.mktemp("knowledge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        (folder / "t.csv").write_text(",x,y,z\nx,1,0.5,\ny,0.5,1,0\nz,,0,1\n")
        factories = {
            "LanguageDistance": partial(LanguageDistance, kinds="genetic"),
            "Geographic": Geographic,
            "Geographic of regions": partial(Geographic, kind="region"),
            "Categorical": Categorical,
            "SetOverlap": SetOverlap,
            "TableSource": partial(TableSource, path=folder / "t.csv"),
            "RandomSimilarity": RandomSimilarity,
        }
        return {
            name: factory("column", metadata=corpus_of("column", LABELS[name]))
            for name, factory in factories.items()
        }


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
def test_pairs_are_where_the_codes_are(name, sources):
    codes = torch.tensor([0, 1, -1], device="meta")
    similarity, valid = sources[name].pairs(codes, codes)
    assert similarity.device.type == valid.device.type == "meta"
    assert similarity.shape == valid.shape == (3, 3)


@pytest.mark.parametrize("name", list(LABELS))
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "heavy", None])
def test_weight_must_be_a_number_of_at_least_zero(name, weight, sources):
    kind = type(sources[name])
    arguments = {"path": sources[name].path} if kind is TableSource else {}
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


# Columns of the corpus


def columns_of_a_corpus():
    return Metadata.from_columns({"age": ["7"], "speaker": ["ann"]})


def test_a_source_finds_its_column_when_it_is_constructed():
    metadata = columns_of_a_corpus()
    for source in (Categorical("speaker", metadata=metadata), Numeric("age", 1.0, 1.0, metadata)):
        source.check(metadata)
        similarity, valid = source.pairs(metadata[source.column], metadata[source.column])
        assert similarity.shape == valid.shape == (len(metadata), len(metadata))


@pytest.mark.parametrize("kind", [Categorical, SetOverlap, LanguageDistance])
def test_a_column_that_is_not_there_names_the_source(kind):
    message = f"{kind.__name__} on 'accent': no metadata column 'accent'.*age, speaker"
    with pytest.raises(KeyError, match=message):
        kind("accent", metadata=columns_of_a_corpus())


@pytest.mark.parametrize("kind", [Categorical, SetOverlap, LanguageDistance])
def test_a_source_of_labels_refuses_a_column_of_numbers(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} on 'age': .*read as numbers.*Numeric"):
        kind("age", metadata=columns_of_a_corpus())


def test_a_source_of_numbers_refuses_a_column_of_labels():
    with pytest.raises(ValueError, match="Numeric on 'speaker': .*read as labels, and numbers"):
        Numeric("speaker", length_scale=1.0, metadata=columns_of_a_corpus())


@pytest.mark.parametrize("name", [name for name in LABELS if name != "Categorical"])
def test_a_source_refuses_a_corpus_of_other_labels(name, sources):
    sources[name].check(corpus_of("column", LABELS[name]))
    with pytest.raises(ValueError, match=f"{sources[name]}: .*other labels.*metadata="):
        sources[name].check(corpus_of("column", LABELS[name][1:]))


# Factories


def test_sources_are_built_for_a_corpus_in_their_order():
    metadata = Metadata.from_columns({"language": ["spa", "cat"], "age": ["7", ""]})
    whole = Categorical("language")
    entries = [partial(Numeric, "age", length_scale=2.0), whole, LanguageDistance]
    numeric, categorical, distance = build_sources(entries, metadata)
    assert isinstance(numeric, Numeric) and numeric.length_scale == 2.0
    assert categorical is whole
    assert isinstance(distance, LanguageDistance) and distance.vocabulary == ["cat", "spa"]


def test_the_same_entries_serve_two_corpora():
    entries = [partial(LanguageDistance, kinds="genetic")]
    for labels in (["cat", "spa"], ["est", "fin", "tam"]):
        (source,) = build_sources(entries, corpus_of("language", labels))
        assert source.vocabulary == labels


def test_a_source_of_another_corpus_is_not_passed_on():
    source = RandomSimilarity("column", metadata=corpus_of("column", ["a", "b"]))
    with pytest.raises(ValueError, match="RandomSimilarity on 'column': .*other labels"):
        build_sources([source], corpus_of("column", ["b", "c"]))


def test_a_yaml_lists_factories():
    text = """
knowledge:
    - !name:masr_modules.knowledge.LanguageDistance {kinds: [genetic], weight: 0.5}
    - !name:masr_modules.knowledge.RandomSimilarity [speaker]
    - !name:masr_modules.knowledge.Numeric {column: year, length_scale: 5}
    - !new:masr_modules.knowledge.Categorical {column: gender}
    - !name:masr_modules.knowledge.Geographic
"""
    entries = load_hyperpyyaml(text)["knowledge"]
    assert [str(source_settings(entry)) for entry in entries] == [
        "LanguageDistance on 'language'",
        "RandomSimilarity on 'speaker'",
        "Numeric on 'year'",
        "Categorical on 'gender'",
        "Geographic on 'language'",
    ]
    assert [source_settings(entry).kind for entry in entries[2:4]] == [Numeric, Categorical]
    assert [source_settings(entry).reads for entry in entries[1:3]] == ["labels", "numbers"]
    columns = {"language": ["cat", "spa"], "speaker": ["a", "b"], "year": ["1", "2"]}
    metadata = Metadata.from_columns(columns | {"gender": ["", "female"]}, numeric=["year"])
    built = build_sources(entries, metadata)
    assert [str(source) for source in built] == [str(source_settings(entry)) for entry in entries]
    assert built[0].kinds == ("genetic",) and built[0].weight == 0.5


def test_an_old_yaml_is_told_what_to_write():
    text = "knowledge: [!new:masr_modules.knowledge.LanguageDistance {column: language}]"
    with pytest.raises(ValueError, match="write `!name:masr_modules.knowledge.LanguageDistance`"):
        load_hyperpyyaml(text)


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ("speaker", TypeError, "'speaker' is no knowledge source: write `!name:`"),
        (partial(int, "7"), TypeError, ".*int.* is no knowledge source"),
        (int, TypeError, ".*int.* is no knowledge source"),
        (
            partial(Categorical, "x", sep=1),
            TypeError,
            "Categorical: .*'sep'; it takes column, weig",
        ),
        (partial(Numeric, "x"), TypeError, "Numeric: missing.*'length_scale'"),
        (Categorical, TypeError, "Categorical: missing.*'column'"),
        (partial(Categorical, column=["x"]), ValueError, "Categorical: column must name a CSV col"),
    ],
)
def test_an_entry_that_is_no_source_is_named_by_its_place(entry, error, words):
    with pytest.raises(error, match=f"knowledge, entry 2: {words}"):
        build_sources([Categorical("x"), entry], corpus_of("x", "a"))


@pytest.mark.parametrize("column", ["year", "age"])
def test_a_column_is_read_as_labels_or_as_numbers_and_not_as_both(column):
    entries = [partial(Numeric, column, 5.0), partial(Categorical, column)]
    table = MetadataTable({"a": {"year": "1998", "age": "7"}})
    with pytest.raises(ValueError, match=f"Categorical on '{column}': .*read as numbers"):
        build_sources(entries, table)


# Sources of labels


class Known(LabelSource):
    """Compares the labels that it is given; others are unknown."""

    def similarities(self, vocabulary):
        found = self._find(vocabulary, {"a": 1, "b": 2}.get)
        return self._among(vocabulary, found, np.eye(len(found)))


def test_unknown_choice_for_unknown_labels_is_an_error():
    with pytest.raises(ValueError, match="Known on 'x': on_unknown"):
        Known("x", on_unknown="ignore")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (LanguageDistance, "masr_modules.knowledge.LanguageDistance"),
        (SetOverlap, "masr_modules.knowledge.SetOverlap"),
        (Known, f"{__name__}.Known"),
    ],
)
def test_a_source_of_labels_without_a_corpus_is_an_error_that_says_what_to_write(kind, name):
    message = (
        f"{kind.__name__}: its table needs the labels of a corpus: in a YAML write "
        f"`!name:{name}` in place of `!new:`; in Python pass metadata="
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        kind("x")


def test_similarities_of_another_shape_are_an_error():
    class Flat(LabelSource):
        def similarities(self, vocabulary):
            return np.ones(len(vocabulary))

    with pytest.raises(ValueError, match=r"Flat on 'x': similarities.* \(2, 2\), not \(2,\)"):
        Flat("x", metadata=corpus_of("x", ["a", "b"]))


def test_a_validity_with_many_patterns_is_kept():
    class Gaps(LabelSource):
        def similarities(self, vocabulary):
            return table

    nan = math.nan
    table = np.array([[1.0, nan, 0.5], [nan, 1.0, 0.25], [0.5, 0.25, nan]])
    source = Gaps("x", metadata=corpus_of("x", ["a", "b", "c"]))
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


# The package


def test_names_are_told_to_type_checkers_as_they_are_imported():
    tree = ast.parse(Path(knowledge.__file__).read_text(encoding="utf-8"))
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith(knowledge.__name__)
        for alias in node.names
    }
    assert sorted(told) == knowledge.__all__ == sorted(knowledge.__all__)
    for name, module in told.items():
        assert getattr(knowledge, name) is getattr(sys.modules[module], name)
    with pytest.raises(AttributeError, match="no attribute 'Categoric'"):
        knowledge.Categoric  # noqa: B018


def test_languages_are_read_without_torch():
    code = (
        "import sys; from masr_modules.knowledge import resolve_language as find; "
        "print(find('sv'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["swe", "False"]
