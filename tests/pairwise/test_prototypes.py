"""Prototypes as candidates: what they carry, partial labels, drawn labels, checkpoints."""

import logging
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from masr_modules.data.candidates import CandidateLabels
from masr_modules.data.metadata import Metadata
from masr_modules.heads import MASRHead, MultiLabelHead, Projection
from masr_modules.knowledge import Categorical
from masr_modules.pairwise.losses import MASRLoss, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine

CORPUS = {
    "language": ["fra", "spa", "deu", "nld", "fra", "deu"],
    "family": ["rom", "rom", "ger", "ger", "", "ger"],
    "gender": ["f", "m", "f", "f", "m", "f"],
}


def make_head(columns=CORPUS, candidates_by=("family",), sources=(), **options):
    torch.manual_seed(0)
    loss = MASRLoss("soft", 0.3, 0.1, activation="softplus", scale=8.0)
    prototypes = partial(Prototypes, candidates_by=candidates_by, **options)
    corpus = Metadata.from_columns(columns)
    return MASRHead(sources, loss, Projection(6, 4), corpus, prototypes=prototypes)


def batch(**columns):
    vocabularies = Metadata.from_columns(CORPUS).vocabularies
    return Metadata.from_columns(columns, vocabularies)


def shared(metadata):
    return CandidateLabels("language", ["family"], metadata).labels["family"]


def test_what_differs_within_every_label_is_named_where_it_was_to_tell(caplog):
    mixed = {"language": ["fra", "fra", "deu", "deu", ""], "family": ["rom", "ger", "ger", "rom"]}
    metadata = Metadata.from_columns(mixed | {"family": [*mixed["family"], "rom"]})
    assert shared(metadata).tolist() == [-1, -1]
    assert "'family' gives the 1 utterances without a 'language' no" in caplog.text
    caplog.clear()
    known = Metadata.from_columns({key: values[:4] for key, values in mixed.items()})
    assert shared(known).tolist() == [-1, -1]  # not asked for
    told = Metadata.from_columns(CORPUS | {"language": ["fra", "spa", "deu", "nld", "", "deu"]})
    assert (shared(told) >= 0).all()
    assert not caplog.text


def test_a_prototype_carries_what_all_utterances_of_its_label_share():
    head = make_head(candidates_by=("family", "gender"))
    metadata = batch(language=["fra"], family=["rom"], gender=["f"])
    carried = head.prototypes(metadata).metadata
    labels = metadata.vocabularies["language"]
    families = metadata.vocabularies["family"]
    told = {labels[i]: families[c] for i, c in enumerate(carried["family"].tolist())}
    assert told == {"fra": "rom", "spa": "rom", "deu": "ger", "nld": "ger"}
    genders = dict(zip(labels, carried["gender"].tolist(), strict=True))
    assert genders["fra"] == -1 and genders["deu"] >= 0  # French has both


def test_a_wrong_cell_in_ten_does_not_silence_a_column():
    family = {"fra": "rom", "deu": "ger"}
    languages = ["fra", "deu"] * 10
    columns = {"language": languages, "family": [family[name] for name in languages]}
    columns["family"][0] = "ger"  # of ten French ones
    columns["gender"] = ["f"] * 20
    for agreement, silent in ((0.9, 0), (1.0, 1), (0.91, 1)):
        head = make_head(columns, agreement=agreement)
        carried = head.prototypes(Metadata.from_columns(columns)).metadata["family"]
        assert (carried == -1).sum() == silent
    for agreement in (0.5, 1.1):
        with pytest.raises(ValueError, match=f"agreement must be above 0.5.*got {agreement}"):
            make_head(columns, agreement=agreement)


def test_the_loss_is_cross_entropy_over_the_prototypes_where_nothing_else_is_known():
    head = make_head(candidates_by=()).eval()
    metadata = batch(language=["fra", "deu", "nld"])
    pooled = torch.randn(3, 6)
    z = unit_norm(head.projection.norm(head.projection.linear(pooled)))
    w = unit_norm(head.prototypes.weight)
    own = F.one_hot(metadata["language"], 4)
    expected = F.cross_entropy(8.0 * (z @ w.T - 0.1 * own), metadata["language"])
    torch.testing.assert_close(head(pooled, metadata).loss, expected)


def test_a_known_family_pulls_to_its_languages_and_away_from_the_others():
    head = make_head()
    metadata = batch(language=["", "", ""], family=["rom", "ger", ""])
    pooled = torch.randn(3, 6, requires_grad=True)
    z = unit_norm(head.eval().projection.norm(head.projection.linear(pooled)))
    output = head(pooled, metadata)
    assert output.stats["anchors"].item() == pytest.approx(2 / 3)
    rom = torch.tensor([label in ("fra", "spa") for label in metadata.vocabularies["language"]])
    s = 8.0 * z @ unit_norm(head.prototypes.weight).T
    gaps = [
        s[i][~inside].logsumexp(0) - s[i][inside].logsumexp(0)
        for i, inside in ((0, rom), (1, ~rom))
    ]
    torch.testing.assert_close(output.loss, F.softplus(torch.stack(gaps) + 0.8).mean())
    output.loss.backward()
    assert not pooled.grad[2].any()  # nothing is known of it


def test_knowledge_moves_the_loss_only_of_what_prototypes_know():
    pooled = torch.randn(3, 6)
    metadata = batch(language=["fra", "deu", "nld"], family=["rom", "ger", "ger"], gender=["f"] * 3)
    plain = make_head().eval()(pooled, metadata).loss
    family = make_head(sources=[Categorical("family")]).eval()(pooled, metadata).loss
    assert family != plain
    with pytest.raises(ValueError, match="no part of the loss reads Categorical of 'gender'"):
        make_head(sources=[Categorical("gender")])


@pytest.mark.slow
def test_drawn_labels_stand_for_all_in_expectation():
    names = [f"l{i:02}" for i in range(40)]
    columns = {"language": names, "family": ["x"] * 40, "gender": ["f"] * 40}
    full, drawn = (make_head(columns, (), max_labels=m) for m in (None, 12))
    drawn.load_state_dict(full.state_dict())
    metadata = Metadata.from_columns({"language": ["l03", "l07", "l07", ""]}, {"language": names})
    pooled = torch.randn(4, 6)

    def gradient(head, times):
        head.train()
        head.projection.eval()
        total = torch.zeros_like(head.prototypes.weight)
        for _ in range(times):
            (grad,) = torch.autograd.grad(head(pooled, metadata).loss, head.prototypes.weight)
            total += grad / times
        return total

    exact, estimate = gradient(full, 1), gradient(drawn, 1500)
    torch.testing.assert_close(estimate, exact, atol=0.07 * exact.abs().max().item(), rtol=0.2)
    chosen = drawn.prototypes.train()(metadata)
    assert len(chosen.embeddings) == 12
    assert {3, 7} <= set(chosen.metadata["language"].tolist())
    assert len(drawn.prototypes.eval()(metadata).embeddings) == 40


def test_max_labels_below_those_of_the_batch_keeps_them_and_a_negative_and_tells(caplog):
    names = [f"l{i:02}" for i in range(40)]
    corpus = Metadata.from_columns({"language": names})
    prototypes = Prototypes("language", 4, corpus, max_labels=3).train()
    metadata = Metadata.from_columns({"language": names[:6]}, {"language": names})
    with caplog.at_level(logging.WARNING):
        drawn = [prototypes(metadata) for _ in range(20)]
    assert len(caplog.records) == 1
    assert "max_labels is 3, but a batch has 6 utterances" in caplog.text
    others = set()
    for found in drawn:
        labels = found.metadata["language"].tolist()
        assert [labels[place] for place in found.own] == list(range(6))
        assert len(labels) == 7
        (other,) = set(labels) - set(range(6))
        # It stands for the 34 labels that the batch has not.
        assert found.log_counts[labels.index(other)].exp().item() == pytest.approx(34)
        others.add(other)
    assert len(others) > 5


def test_a_checkpoint_goes_on_and_one_with_other_labels_is_refused(tmp_path):
    head = make_head()
    torch.save(head.state_dict(), tmp_path / "head.ckpt")
    state = torch.load(tmp_path / "head.ckpt", weights_only=True)
    again = make_head()
    torch.nn.init.zeros_(again.prototypes.weight)
    again.load_state_dict(state)
    assert torch.equal(again.prototypes.weight, head.prototypes.weight)
    others = CORPUS | {"language": ["fra", "spa", "deu", "swe", "fra", "deu"]}
    with pytest.raises(ValueError, match=r"new \['swe'\], no longer there \['nld'\]"):
        make_head(others).load_state_dict(state)


def test_each_identity_has_prototypes_of_its_own():
    corpus = Metadata.from_columns(CORPUS)
    identities, loss = {"language": 1.0, "gender": 0.5}, MASRLoss("soft")
    head = MultiLabelHead(identities, [], loss, 6, 4, corpus, prototypes=Prototypes)
    shapes = {name: part.prototypes.weight.shape for name, part in head.heads.items()}
    assert shapes == {"language": (4, 4), "gender": (2, 4)}


def test_what_does_not_go_together_is_refused():
    arguments = ([], MASRLoss("soft"), Projection(6, 4))
    corpus, memory = Metadata.from_columns(CORPUS), partial(CrossBatchMemory, 4, 1)
    with pytest.raises(ValueError, match="a memory serves pairs of utterances"):
        MASRHead(*arguments, corpus, memory=memory, prototypes=Prototypes)
    with pytest.raises(ValueError, match="need an identity"):
        MASRHead(*arguments, corpus, identity=None, prototypes=Prototypes)
    with pytest.raises(ValueError, match="'language' has 1"):
        one = Metadata.from_columns({"language": ["fra", "fra"]})
        MASRHead(*arguments, one, prototypes=Prototypes)
    with pytest.raises(ValueError, match="max_labels must be at least 2, got 1"):
        Prototypes("language", 4, corpus, max_labels=1)


@pytest.mark.parametrize("max_labels", [None, 3])
def test_looking_the_positive_up_is_the_same_as_masks(max_labels):
    """Drawn labels too: the same draw, once with `one_positive` and once without."""
    head = make_head(candidates_by=(), sources=[Categorical("language")], max_labels=max_labels)
    metadata = batch(language=["fra", "", "nld", "fra"])
    z = torch.randn(4, 4)
    found = []
    for masks in (False, True):
        torch.manual_seed(1)
        own, weight = z.clone().requires_grad_(), head.prototypes.weight
        there, known, log_counts, place = head.prototypes(metadata)
        place = None if masks else place
        similarity = combine(head.sources, metadata, "language", known, one_positive=place)
        loss = head.loss(own, similarity, there, log_counts).loss
        found.append((loss, *torch.autograd.grad(loss, (own, weight))))
    for by_look_up, by_masks in zip(*found, strict=True):
        torch.testing.assert_close(by_look_up, by_masks)


def test_each_identity_learns_its_own_mix_of_layers():
    loss = MASRLoss("soft", activation="softplus")
    options = {"prototypes": Prototypes, "layers": {"language": [0, 1, 2], "gender": [0, 1, 2]}}
    corpus = Metadata.from_columns(CORPUS)
    head = MultiLabelHead({"language": 1.0, "gender": 0.5}, [], loss, 6, 4, corpus, **options)
    pooled = torch.randn(4, 3, 6)
    metadata = batch(language=["fra", "spa", "deu", "nld"], gender=["f", "m", "f", "m"])
    head(pooled, metadata).loss.backward()
    for part in head.heads.values():
        assert part.projection.layer_scores.grad.abs().min() > 0


def test_without_a_mix_the_last_layer_alone_counts():
    head = make_head().eval()
    pooled = torch.randn(2, 3, 6)
    metadata = batch(language=["fra", "deu"], family=["rom", "ger"])
    assert head(pooled, metadata).loss == head(pooled[:, -1], metadata).loss
