"""The MASR loss against loops over all pairs, and its behaviour at the edges."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from reference import masr_loop, random_similarity
from torch import nn

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads import MASRHead, Projection
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.similarity import Similarity, combine

SETTINGS = list(
    itertools.product(
        ("hardest", "knowledge", "semihard"), ("constant", "graded"), ("relu", "softplus")
    )
)


@pytest.mark.parametrize("mining, margin_mode, activation", SETTINGS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_loop_over_all_pairs(mining, margin_mode, activation, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    similarity = random_similarity(11, 11, generator)
    loss = MASRLoss(mining, 0.4, 0.3, margin_mode, activation)(z, similarity).loss
    expected = masr_loop(
        z, z, similarity, mining, 0.4, 0.3, margin_mode == "graded", activation == "softplus"
    )
    assert math.isclose(loss.item(), expected, rel_tol=1e-10, abs_tol=1e-12)


def test_equals_the_loop_with_candidates():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    candidates = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    similarity = random_similarity(5, 9, generator)
    loss = MASRLoss("knowledge", 0.4, 0.3)(z, similarity, candidates).loss
    expected = masr_loop(z, candidates, similarity, "knowledge", 0.4, 0.3, False, False)
    assert math.isclose(loss.item(), expected, rel_tol=1e-10)


def test_ties_go_to_the_first_candidate():
    # All embeddings are one point, so every pair ties; d = 0 and each term is the margin.
    z = torch.ones(4, 3, dtype=torch.float64)
    metadata = Metadata.from_columns({"language": ["a", "a", "b", "b"]})
    similarity = combine([], metadata)
    loss = MASRLoss("knowledge", 0.4, 0.3)(z, similarity).loss.item()
    assert loss == pytest.approx(0.3)
    assert loss == pytest.approx(masr_loop(z, z, similarity, "knowledge", 0.4, 0.3, False, False))


@pytest.mark.parametrize("mining", ("hardest", "knowledge", "semihard"))
@pytest.mark.parametrize("margin_mode", ("constant", "graded"))
def test_gradient_equals_finite_differences(mining, margin_mode):
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    similarity = random_similarity(9, 9, generator, identities=2)
    loss = MASRLoss(mining, 0.2, 0.5, margin_mode, "softplus")
    assert loss(z, similarity).stats["anchors"] > 0
    assert torch.autograd.gradcheck(lambda x: loss(x, similarity).loss, z)


@pytest.mark.parametrize(
    "languages",
    [["a", "a", "a"], ["a", "b", "c"], ["", "", ""], ["a"], ["a", "", ""]],
    ids=["no negatives", "no positives", "all missing", "one utterance", "one known"],
)
@pytest.mark.parametrize("activation", ("relu", "softplus"))
def test_no_usable_anchor_gives_exactly_zero(languages, activation):
    z = torch.randn(len(languages), 4, requires_grad=True)
    metadata = Metadata.from_columns({"language": languages})
    loss = MASRLoss(activation=activation)(z, combine([], metadata)).loss
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_knowledge_picks_the_relative_as_negative():
    # The anchor is as far from b as from c; knowledge says that c is a relative.
    z = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    positive = torch.tensor([[False, True, False, False]])
    negative = torch.tensor([[False, False, True, True]])
    values = torch.tensor([[0.0, 0.0, 0.0, 0.8]])
    similarity = Similarity.of_tensors(
        values, torch.ones(1, 4, dtype=torch.bool), positive, negative
    )
    loss = MASRLoss("knowledge", 0.5, 1.0, "graded")(z[:1], similarity, z).loss
    # d_ap = 1 - 1/sqrt(1.01), d_an = 1, m = 1 * (1 - 0.8)
    expected = max(0.0, (1 - 1 / math.sqrt(1.01)) - 1 + 0.2)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_lasr_is_hardest_mining_with_a_constant_margin():
    """Our reading of LASR: one identity, no other knowledge, whatever the knowledge weight."""
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(8, 4, generator=generator)
    similarity = random_similarity(8, 8, generator)
    lasr = MASRLoss("hardest", 0.9, 0.5, "constant")(z, similarity).loss
    without = Similarity.of_tensors(
        torch.zeros(8, 8),
        torch.zeros(8, 8, dtype=torch.bool),
        similarity.positive,
        similarity.negative,
    )
    unit = F.normalize(z)
    d = 1 - unit @ unit.T
    expected = []
    for i in range(8):
        if similarity.positive[i].any() and similarity.negative[i].any():
            farthest, nearest = (
                d[i][similarity.positive[i]].max(),
                d[i][similarity.negative[i]].min(),
            )
            expected.append(F.relu(farthest - nearest + 0.5))
    torch.testing.assert_close(lasr, torch.stack(expected).mean())
    torch.testing.assert_close(lasr, MASRLoss("knowledge", 0.0, 0.5)(z, without).loss)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_half_precision_is_finite(dtype):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(8, 4, generator=generator).to(dtype).requires_grad_()
    loss = MASRLoss()(z, random_similarity(8, 8, generator)).loss
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(z.grad).all()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"mining": "easy"}, "mining must be one of hardest, knowledge, semihard, soft; it is"),
        ({"margin_mode": "soft"}, "margin_mode"),
        ({"activation": "gelu"}, "activation"),
        ({"margin": -1.0}, "must not be negative"),
        ({"knowledge_weight": float("nan")}, "knowledge_weight must be a finite number; it is nan"),
        ({"margin": float("inf")}, "margin must be a finite number; it is inf"),
        ({"mining": "soft", "scale": float("nan")}, "scale must be above 0 and finite; it is nan"),
        ({"knowledge_weight": -0.5}, r"knowledge_weight \(-0.5\) must not be negative, except"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_right_ones(arguments, words):
    with pytest.raises(ValueError, match=words):
        MASRLoss(**arguments)


def test_leaves_the_collapse_value_despite_a_common_direction():
    """Encoder outputs that share one large direction start with every distance near 0."""
    torch.manual_seed(0)
    labels = torch.arange(4).repeat_interleave(8)
    inputs = F.one_hot(labels, 4).float() @ torch.randn(4, 16) + 0.3 * torch.randn(32, 16)
    encoder = nn.Linear(16, 16)
    with torch.no_grad():
        encoder.bias.add_(50.0)
    metadata = Metadata.from_columns({"language": [str(label) for label in labels.tolist()]})
    pooled_distances = 1 - F.cosine_similarity(encoder(inputs[:1]), encoder(inputs[-1:]))
    assert pooled_distances.item() < 0.01
    head = MASRHead([], MASRLoss("hardest", margin=0.5), Projection(16, 8), metadata)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(100):
        loss = head(encoder(inputs), metadata).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * 0.5  # phi(m) = m = 0.5 is the collapse value


def test_projection_takes_a_batch_of_one_in_training():
    projection = Projection(4, 3).train()
    projection(torch.randn(5, 4), JointBatch(5))
    assert torch.isfinite(projection(torch.randn(1, 4), JointBatch(1))).all()
