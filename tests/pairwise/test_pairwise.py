"""The comparators against loops, and what all losses and heads have in common."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import random_similarity, soft_label_loop
from torch import nn

from masr_modules.data.metadata import Metadata
from masr_modules.heads import ClassifierHead, MASRHead, MultiLabelHead, Projection
from masr_modules.knowledge import Categorical, LanguageDistance, build_sources
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine
from masr_modules.pairwise.soft_labels import MultiSupConLoss, XSampleLoss

LOSSES = {
    "masr": MASRLoss("knowledge", 0.3, 0.5, "graded", "softplus"),
    "multisupcon": MultiSupConLoss(),
    "x-sample": XSampleLoss(),
}
LANGUAGES, SPEAKERS = ["spa", "cat", "deu", ""], ["a", "b", "c", ""]
SOURCES = [partial(LanguageDistance, kinds="genetic"), Categorical("speaker")]


def shares(values):
    total = sum(values)
    return [value / total for value in values] if total > 0 else []


def softmax(temperature):
    def weights(values):
        powers = [math.exp(value / temperature) for value in values]
        return shares(powers)

    return weights


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "loss, weights_of",
    [(MultiSupConLoss(0.2), shares), (XSampleLoss(0.2, 0.3), softmax(0.3))],
    ids=["MultiSupCon", "X-Sample"],
)
def test_equals_a_loop_over_all_pairs(loss, weights_of, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    similarity = random_similarity(9, 9, generator)
    expected = soft_label_loop(z, similarity.values, similarity.valid, loss.temperature, weights_of)
    assert loss(z, similarity).loss.item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: loss(x, similarity).loss, z)


def test_multisupcon_with_one_label_is_supcon():
    """With S of 0 and 1: -1/|P(i)| sum over positives of log p, Khosla et al.'s L_out."""
    z = nn.functional.normalize(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))
    metadata = Metadata.from_columns({"language": ["a", "a", "a", "b", "b", "c"]})
    loss = MultiSupConLoss(0.5)(z, combine([Categorical("language")], metadata)).loss
    logits = (z @ z.T / 0.5).masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    log_p = logits.log_softmax(dim=1)
    positives = {0: [1, 2], 1: [0, 2], 2: [0, 1], 3: [4], 4: [3]}
    terms = [-log_p[i, chosen].mean() for i, chosen in positives.items()]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_x_sample_of_labels_and_a_low_target_temperature_is_supcon():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    metadata = Metadata.from_columns({"language": ["a", "a", "a", "b", "b"]})
    similarity = combine([Categorical("language")], metadata)
    loss = XSampleLoss(0.5, target_temperature=0.01)(z, similarity).loss
    torch.testing.assert_close(loss, MultiSupConLoss(0.5)(z, similarity).loss)


def test_multi_task_cross_entropy_is_the_mean_over_columns_where_known():
    metadata = Metadata.from_columns({"language": ["a", "b", ""], "speaker": ["", "", "x"]})
    head = ClassifierHead(["language", "speaker"], 4, 3, metadata).eval()
    pooled = torch.randn(3, 4)
    projection = head.projections["shared"]
    x = projection.linear(pooled) / math.sqrt(1 + projection.norm.eps)
    log_p = head.classifiers["language"](x).log_softmax(dim=1)
    language = -(log_p[0, 0] + log_p[1, 1]) / 2
    speaker = torch.tensor(0.0)  # one class: its probability is 1
    torch.testing.assert_close(head(pooled, metadata).loss, (language + speaker) / 2)


@st.composite
def batches(draw):
    """Metadata of 1 to 12 utterances, anything missing."""
    size = draw(st.integers(1, 12))
    cells = st.lists(st.integers(0, 3), min_size=size, max_size=size)
    columns = {
        "language": [LANGUAGES[i] for i in draw(cells)],
        "speaker": [SPEAKERS[i] for i in draw(cells)],
    }
    labels = {"language": LANGUAGES[:3], "speaker": SPEAKERS[:3]}
    return Metadata.from_columns(columns, labels)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=40, deadline=None)
@given(metadata=batches(), seed=st.integers(0, 1000))
def test_the_order_of_the_batch_does_not_matter(name, metadata, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(len(metadata), 4, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(metadata), generator=generator)
    loss = LOSSES[name]
    sources = build_sources(SOURCES, metadata)
    one = loss(z, combine(sources, metadata)).loss
    other = loss(z[order], combine(sources, metadata.select(order))).loss
    torch.testing.assert_close(one, other)


@settings(max_examples=40, deadline=None)
@given(metadata=batches())
def test_similarity_is_symmetric_and_in_0_to_1(metadata):
    similarity = combine(build_sources(SOURCES, metadata), metadata)
    assert torch.equal(similarity.values, similarity.values.T)
    assert torch.equal(similarity.valid, similarity.valid.T)
    assert ((similarity.values >= 0) & (similarity.values <= 1)).all()
    assert not (similarity.positive & similarity.negative).any()


def all_missing(size: int) -> Metadata:
    vocabularies = {"language": ["deu", "spa"], "family": ["ger", "rom"], "speaker": ["a", "b"]}
    metadata = Metadata.from_columns({column: [""] * size for column in vocabularies}, vocabularies)
    metadata.ids = torch.arange(size)
    return metadata


def make_head(kind: str) -> nn.Module:
    torch.manual_seed(0)
    loss = LOSSES.get(kind, MASRLoss(activation="softplus"))
    corpus = Metadata.from_columns(
        {"language": ["deu", "spa"], "family": ["ger", "rom"], "speaker": ["a", "b"]}
    )
    if kind == "cross-entropy":
        return ClassifierHead(["language", "speaker"], 6, 4, corpus)
    if kind == "per source":
        return MultiLabelHead({"language": 1.0, "speaker": 0.5}, SOURCES, loss, 6, 4, corpus)
    options = {}
    if "prototypes" in kind:
        loss = MASRLoss("soft", 0.3, 0.1, activation="softplus")
        options["prototypes"] = partial(Prototypes, candidates_by=["family"])
        options["pair_weight"] = 0.3
    if "memory" in kind:
        options["memory"] = partial(CrossBatchMemory, 16, 10)
    return MASRHead(SOURCES, loss, Projection(6, 4), corpus, **options)


@pytest.mark.parametrize(
    "kind", [*LOSSES, "memory", "per source", "cross-entropy", "prototypes, memory"]
)
def test_without_any_metadata_the_loss_and_its_gradient_are_exactly_zero(kind):
    head = make_head(kind)
    pooled = torch.randn(5, 6, requires_grad=True)
    for _ in range(2):
        loss = head(pooled, all_missing(5)).loss
        loss.backward()
        assert loss.item() == 0.0
        assert torch.equal(pooled.grad, torch.zeros_like(pooled))


@pytest.mark.parametrize(
    "kind", [*LOSSES, "memory", "per source", "cross-entropy", "prototypes, memory"]
)
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_autocast_is_finite(kind, dtype):
    head = make_head(kind)
    columns = {"language": ["spa", "spa", "deu"] * 3, "speaker": ["a", "b", ""] * 3}
    columns["family"] = ["rom", "rom", "ger"] * 3
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(9)
    if kind == "cross-entropy":
        head = ClassifierHead(["language", "speaker"], 6, 4, metadata)
    pooled = torch.randn(9, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        loss = head(1e3 * pooled, metadata).loss
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(pooled.grad).all()


@pytest.mark.parametrize("kind", ["masr", "multisupcon", "x-sample", "memory", "per source"])
def test_trains_with_half_the_metadata_removed(kind):
    """Four clusters, half of the cells gone: the head still pulls the clusters together."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(12)
    names = ["spa", "deu", "rus", "tam"]
    centres = torch.randn(4, 6, generator=generator)
    inputs = centres[labels] + 0.5 * torch.randn(48, 6, generator=generator)
    gone = torch.rand(48, 2, generator=generator) < 0.5
    columns = {
        "language": ["" if gone[i, 0] else names[c] for i, c in enumerate(labels)],
        "speaker": ["" if gone[i, 1] else f"{c}{i % 3}" for i, c in enumerate(labels)],
    }
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(48)
    head = make_head(kind)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = head(inputs, metadata).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[1]


@pytest.mark.parametrize("make", (MultiSupConLoss, XSampleLoss))
def test_a_temperature_of_zero_is_refused(make):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        make(0.0)


def test_a_per_source_head_needs_weights_above_zero():
    with pytest.raises(ValueError, match="weight above 0"):
        MultiLabelHead({"language": 0.0}, [], MASRLoss(), 4, 4, Metadata({}))
