"""Every source of knowledge that a YAML names changes its loss."""

import random

import pytest
import torch
from conftest import ROOT, yamls
from ruamel.yaml import YAML

from masr_modules.config.settings import load_settings, merge_bases
from masr_modules.data.metadata import MetadataTable
from masr_modules.knowledge import source_settings

PRETRAINING = [
    yaml
    for yaml in yamls("*.yaml", "published/*.yaml")
    if {"knowledge", "head"} <= {*merge_bases(ROOT / "hparams" / yaml)}
]


def corpus(columns):
    """48 utterances of 12 speakers with a gender each; all else changes within a speaker."""
    draw = random.Random(0)
    languages = [("fra", "Indo-European"), ("spa", "Indo-European"), ("tam", "Dravidian")]
    rows = {}
    for i in range(48):
        speaker = i % 12
        language, family = languages[(i // 2) % 3]
        row = {column: str(draw.randrange(4)) for column in columns}
        row |= {"language": language, "family": family, "speaker": f"s{speaker}"}
        row |= {"gender": ("female", "male")[speaker % 2], "region": ("FR", "ES", "IN")[i % 3]}
        row["emotion"] = ("sad", "happy", "angry")[i % 3 - i % 2]
        rows[f"u{i}"] = {**row, "ID": f"u{i}"}
    return rows


def loss_of(hparams, places, rows):
    """Of the head with some of the sources, on a batch of half of the corpus."""
    table = MetadataTable(rows)
    make = hparams["head"]
    sources = [make.keywords["sources"][place] for place in places]
    torch.manual_seed(0)
    head = make(metadata=table, sources=sources).eval()
    size = next(part.linear.in_features for part in head.modules() if hasattr(part, "linear"))
    pooled = torch.randn(24, 5, size, generator=torch.Generator().manual_seed(1))
    batch = table([f"u{i}" for i in range(24)])
    return head(pooled, batch).loss.item(), head.used_sources


@pytest.mark.parametrize("yaml", PRETRAINING)
def test_every_source_of_a_yaml_changes_its_loss(yaml, small_overrides):
    settings = small_overrides(yaml)
    path = ROOT / "hparams" / yaml
    head = load_settings(path, settings, only=["head"])
    columns = [source_settings(source).column for source in head["head"].keywords["sources"]]
    rows = corpus(columns)
    every = list(range(len(columns)))
    whole, used = loss_of(head, every, rows)
    assert {source.column for source in used} == {*columns}
    for place, column in enumerate(columns):
        without, _ = loss_of(head, [other for other in every if other != place], rows)
        assert without != whole, f"{yaml}: '{column}' changes nothing"
    for column in {*columns} - {"language", "speaker", "emotion"}:  # no identity
        cells = [row[column] for row in rows.values()]
        random.Random(1).shuffle(cells)
        moved = {
            name: row | {column: cell}
            for (name, row), cell in zip(rows.items(), cells, strict=True)
        }
        assert loss_of(head, every, moved)[0] != whole, f"{yaml}: cells of '{column}'"


@pytest.mark.parametrize("yaml", ["masr.yaml", "whisper_tiny.yaml", "people.yaml"])
def test_a_source_that_nothing_reads_is_refused(yaml, small_overrides):
    idle = "[!name:masr_modules.knowledge.Categorical {column: session}]"
    settings = small_overrides(yaml) | {"knowledge": YAML().load(idle), "pair_weight": 0.0}
    head = load_settings(ROOT / "hparams" / yaml, settings, only=["head"])["head"]
    with pytest.raises(ValueError, match="no part of the loss reads Categorical of 'session'"):
        head(metadata=MetadataTable(corpus(["session"])))
    with_pairs = settings | {"pair_weight": 0.3}
    head = load_settings(ROOT / "hparams" / yaml, with_pairs, only=["head"])["head"]
    used = head(metadata=MetadataTable(corpus(["session"]))).used_sources
    assert [source.column for source in used] == ["session"]
