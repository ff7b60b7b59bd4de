"""Soft mining against loops over pairs in float64, its limits and its gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.mining import mine
from masr_modules.pairwise.similarity import Similarity
from masr_modules.pairwise.weighting import soft_mine

SCALE, ALPHA = 7.0, 0.4


def random_problem(seed, anchors=6, others=9, partial=False):
    """Unit vectors in float64 and a Similarity with unknown pairs; the last anchor has none."""
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    z = F.normalize(torch.randn(anchors, 4, **draw), dim=1)
    candidates = F.normalize(torch.randn(others, 4, **draw), dim=1)
    valid = torch.rand(anchors, others, generator=generator) < 0.7
    values = torch.rand(anchors, others, **draw) * valid
    kind = torch.randint(0, 3, (anchors, others), generator=generator)
    kind[-1] = 2
    told = torch.arange(anchors) % 2 == 0 if partial else None
    return z, candidates, Similarity.of_tensors(values, valid, kind == 0, kind == 1, None, told)


def by_loops(z, candidates, similarity, log_counts=None, alpha=ALPHA):
    """d_ap and d_an of every anchor with both, pair by pair."""
    found = {}
    for i in range(len(z)):
        positives = [j for j in range(len(candidates)) if similarity.positive[i, j]]
        negatives = [j for j in range(len(candidates)) if similarity.negative[i, j]]
        if not positives or not negatives:
            continue
        s = [float(z[i] @ c) for c in candidates]
        known = [float(similarity.values[i, j]) for j in negatives if similarity.valid[i, j]]
        mean = sum(known) / len(known) if known else 0.0
        near = far = 0.0
        for j in negatives:
            moved = alpha * (float(similarity.values[i, j]) - mean) * bool(similarity.valid[i, j])
            count = 1.0 if log_counts is None else math.exp(log_counts[j])
            near += count * math.exp(SCALE * (s[j] + moved))
        told = similarity.partial is not None and bool(similarity.partial[i])
        for j in positives:
            moved = alpha * (float(similarity.values[i, j]) - 1) * bool(similarity.valid[i, j])
            far += math.exp(SCALE * s[j] if told else -SCALE * (s[j] + moved))
        s_ap = math.log(far) / SCALE * (1 if told else -1)
        found[i] = (1 - s_ap, 1 - math.log(near) / SCALE)
    return found


@pytest.mark.parametrize("tile", [10**6, 1, 20])
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("alpha", [ALPHA, -ALPHA])
def test_distances_equal_loops_over_pairs(tile, partial, alpha):
    for seed in range(20):
        z, candidates, similarity = random_problem(seed, partial=partial)
        counts = torch.linspace(0, 2, len(candidates), dtype=torch.float64) if seed % 2 else None
        pairs = soft_mine(z, candidates, similarity, SCALE, alpha, counts, tile)
        expected = by_loops(z, candidates, similarity, counts, alpha)
        assert pairs.usable.nonzero().flatten().tolist() == list(expected)
        for i, (d_ap, d_an) in expected.items():
            assert pairs.d_ap[i].item() == pytest.approx(d_ap, abs=1e-9)
            assert pairs.d_an[i].item() == pytest.approx(d_an, abs=1e-9)


def test_a_large_scale_gives_the_hardest_pairs():
    for seed in range(20):
        z, candidates, similarity = random_problem(seed)
        hard = mine(z, candidates, similarity, "hardest")
        soft = soft_mine(z, candidates, similarity, scale=3000.0)
        i = hard.usable.nonzero().flatten()
        d_ap = 1 - (z * candidates[hard.positive]).sum(1)
        d_an = 1 - (z * candidates[hard.negative]).sum(1)
        assert torch.equal(hard.usable, soft.usable)
        torch.testing.assert_close(soft.d_ap[i], d_ap[i], atol=2e-3, rtol=0)
        torch.testing.assert_close(soft.d_an[i], d_an[i], atol=2e-3, rtol=0)


@pytest.mark.parametrize("tile", [10**6, 1])
def test_gradients_are_those_of_finite_differences(tile):
    z, candidates, similarity = random_problem(3, partial=True)

    def usable_distances(z, candidates):
        pairs = soft_mine(z, candidates, similarity, SCALE, ALPHA, tile=tile)
        return pairs.d_ap[pairs.usable], pairs.d_an[pairs.usable]

    inputs = (z.requires_grad_(), candidates.requires_grad_())
    assert torch.autograd.gradcheck(usable_distances, inputs)


@pytest.mark.parametrize("scale", [1e2, 2e4, 1e6, 1e8])
@pytest.mark.parametrize("one_positive", [False, True])
def test_a_scale_has_its_gradient_however_large(scale, one_positive):
    z = F.normalize(torch.tensor([[1.0, 0.2]]), dim=1).requires_grad_()
    others = F.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.9, -0.4]]), dim=1)
    similarity = Similarity.of_tensors(
        torch.zeros(1, 3),
        torch.zeros(1, 3, dtype=torch.bool),
        torch.tensor([[True, False, False]]),
        torch.tensor([[False, True, True]]),
        torch.tensor([0]) if one_positive else None,
    )
    pairs = soft_mine(z, others, similarity, scale)
    cosine = z.detach() @ others.T
    assert pairs.d_ap.item() == pytest.approx(1 - cosine[0, 0].item(), abs=1e-4)
    assert pairs.d_an.item() == pytest.approx(1 - cosine[0, 1:].max().item(), abs=1e-2)
    (gradient,) = torch.autograd.grad((pairs.d_ap - pairs.d_an).sum(), z)
    torch.testing.assert_close(gradient[0], others[2] - others[0], atol=0.01, rtol=0.01)


def test_an_anchor_without_pairs_has_no_gradient():
    z, candidates, similarity = random_problem(1)
    z.requires_grad_()
    MASRLoss("soft", ALPHA, 0.1, activation="softplus")(z, similarity, candidates).loss.backward()
    assert torch.isfinite(z.grad).all() and not z.grad[-1].any() and z.grad[0].any()


def test_one_positive_each_and_no_knowledge_is_the_normalised_softmax_with_a_margin():
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(8, 5, generator=generator, dtype=torch.float64), dim=1)
    w = F.normalize(torch.randn(4, 5, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.arange(8) % 4
    same = labels.unsqueeze(1) == torch.arange(4)
    nothing = torch.zeros(8, 4, dtype=torch.float64)
    similarity = Similarity.of_tensors(nothing, nothing.bool(), same, ~same)
    loss = MASRLoss("soft", ALPHA, margin=0.1, activation="softplus", scale=SCALE)
    logits = SCALE * (z @ w.T - 0.1 * same)
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(loss(z, similarity, w).loss, expected)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="graded needs one negative per anchor"):
        MASRLoss("soft", margin_mode="graded")
    with pytest.raises(ValueError, match="scale must be above 0 and finite; it is 0"):
        MASRLoss("soft", scale=0)
