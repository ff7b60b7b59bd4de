"""Names of others in Markdown, in model cards and in pictures show as they are."""

import re

import pytest
from ruamel.yaml import YAML

from masr_modules.config.markdown import one_line
from masr_modules.encoders.model_card import encoder_card, front_matter
from masr_modules.metrics.tables import align, format_table

STRANGE = ["a|b", "a\nb", "<img src=x onerror=alert(1)>", "a\r\n| x |", "$x$ and $y$", "`code`"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_is_one_cell_of_a_table(name):
    table = format_table({name: [{"knn": 0.5}]}, [("kNN", "knn", "share")])
    assert len(table.splitlines()) == 3
    for line in table.splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert not re.search(r"(?<!\\)[<$`]", table)


def test_usual_names_and_headers_are_as_they_were():
    assert align(["a (%)"], [["MASR, 10 % of languages [+1.0, +2.0]"]]).splitlines()[2] == (
        "| MASR, 10 % of languages [+1.0, +2.0] |"
    )


@pytest.mark.parametrize("name", STRANGE)
def test_a_model_card_keeps_names_in_their_line(name):
    facts = {
        "system": name,
        "method": "BestRQ",
        "d_model": 8,
        "train_csv": name,
        "utterances": 1,
        "hours": 0.1,
        "languages": ["fra", "no", name],
        "identities": [name],
        "sources": [name],
    }
    card = encoder_card(facts, "")
    _, front, rest = card.split("---\n", 2)
    assert YAML(typ="safe").load(front)["language"] == ["fra", "no", name]
    assert f"# {one_line(name)}\n" in rest and f"\n- {one_line(name)}\n" in rest


def test_a_language_that_yaml_11_calls_false_is_quoted():
    assert '- "no"\n' in front_matter([], ["no"])
