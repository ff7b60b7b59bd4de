"""Mining in tiles: the same pairs whatever their size, and nothing of size B x C."""

import pytest
import torch
import torch.nn.functional as F
from reference import random_similarity

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge import Categorical, LanguageDistance
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.mining import MINING_RULES, mine
from masr_modules.pairwise.similarity import Similarity, combine


def random_metadata(size: int, seed: int = 0) -> Metadata:
    """Languages, speakers and genders, a fifth of each missing."""
    generator = torch.Generator().manual_seed(seed)
    columns = {}
    labels = {"language": ["spa", "cat", "deu", "nld"], "speaker": list("abcdefgh")}
    for column, names in (labels | {"gender": ["female", "male"]}).items():
        codes = torch.randint(0, len(names), (size,), generator=generator)
        missing = torch.rand(size, generator=generator) < 0.2
        columns[column] = ["" if m else names[c] for c, m in zip(codes, missing, strict=True)]
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(size)
    return metadata


def similarity_of(metadata: Metadata) -> Similarity:
    """By languages, speakers and genders."""
    language = LanguageDistance(kinds="genetic", metadata=metadata)
    return combine([language, Categorical("speaker"), Categorical("gender", 0.5)], metadata)


@pytest.mark.parametrize("rule", MINING_RULES)
@pytest.mark.parametrize("tile", (1, 40, 7 * 40, 2**20))
def test_tiles_of_any_size_choose_the_same_pairs(rule, tile):
    z = F.normalize(torch.randn(40, 5, generator=torch.Generator().manual_seed(1)))
    metadata = random_metadata(40)
    whole = mine(z, z, random_similarity(40, 40, torch.Generator().manual_seed(2)), rule, 0.4, True)
    parts = mine(
        z, z, random_similarity(40, 40, torch.Generator().manual_seed(2)), rule, 0.4, True, tile
    )
    for name in ("positive", "negative", "usable", "negative_similarity"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
    similarity = similarity_of(metadata)
    assert torch.equal(
        mine(z, z, similarity, rule, 0.4).negative,
        mine(z, z, similarity, rule, 0.4, tile=tile).negative,
    )


def test_no_tile_is_larger_than_the_limit(monkeypatch):
    made = []
    mean = Similarity.rows

    def rows(self, start, stop):
        tile = mean(self, start, stop)
        made.append(tile.shape)
        return tile

    monkeypatch.setattr(Similarity, "rows", rows)
    z = F.normalize(torch.randn(50, 4))
    similarity = similarity_of(random_metadata(50))
    mine(z, z, similarity, "knowledge", 0.4, tile=500)
    assert made == [(10, 50)] * 5
    # What was made of a tile goes with it: the whole holds no matrix.
    assert not {"_mean", "positive", "negative"} & set(vars(similarity))


def test_mining_by_distance_alone_does_not_ask_for_the_knowledge(monkeypatch):
    asked = []
    monkeypatch.setattr(Categorical, "pairs", lambda *arguments: asked.append(1))
    metadata = random_metadata(12)
    MASRLoss("hardest")(torch.randn(12, 4), combine([Categorical("speaker")], metadata))
    assert not asked


def test_only_the_first_candidates_may_be_positives():
    metadata = Metadata.from_columns({"language": ["a", "b"]})
    more = Metadata.from_columns({"language": ["a", "b", "a", "b"]})
    similarity = combine([], metadata, candidates=more, positive_candidates=2)
    # (a, b) against (a, b, a, b): without ids nothing is the same recording.
    assert similarity.positive.tolist() == [
        [True, False, False, False],
        [False, True, False, False],
    ]
    assert similarity.negative.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_pairs_by_thresholds_on_continuous_knowledge():
    table = {"level": ["low", "middle", "high"]}

    class Levels(Categorical):
        def pairs(self, rows, columns):
            values = 1 - (rows.unsqueeze(1) - columns.unsqueeze(0)).abs() / 2
            return values, torch.ones_like(values, dtype=torch.bool)

    vocabularies = {"level": table["level"]}
    metadata = Metadata.from_columns({"level": ["low", "low", "middle", "high"]}, vocabularies)
    similarity = combine([Levels("level")], metadata, None, None, 0.9, 0.1)
    # S = 1 within a level, 1/2 between neighbours, 0 between the ends.
    assert similarity.positive.nonzero().tolist() == [[0, 1], [1, 0]]
    assert similarity.negative.nonzero().tolist() == [[0, 3], [1, 3], [3, 0], [3, 1]]


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ValueError, match="negative_threshold .0.9. must be below"):
        combine([], Metadata.from_columns({"a": ["x"]}), None, None, 0.1, 0.9)
