"""Brute-force float64 versions of the formulas, written as loops over pairs."""

import math

import torch

from masr_modules.pairwise.similarity import Similarity


def similarity_loop(sources, weights):
    """S and validity from [(S, V)] per source, by the formula, pair by pair."""
    size, width = len(sources[0][0]), len(sources[0][0][0])
    values = [[0.0] * width for _ in range(size)]
    valid = [[False] * width for _ in range(size)]
    for i in range(size):
        for j in range(width):
            top = sum(
                w * float(s[i][j]) for (s, v), w in zip(sources, weights, strict=True) if v[i][j]
            )
            below = sum(w for (_, v), w in zip(sources, weights, strict=True) if v[i][j])
            if below > 0:
                values[i][j], valid[i][j] = top / below, True
    return values, valid


def masr_loop(z, others, similarity, rule, alpha, margin, graded, softplus):
    """The MASR loss in float64: every pair is looked at, ties go to the first."""
    z = [[float(x) for x in row] for row in z]
    others = [[float(x) for x in row] for row in others]
    unit = lambda row: [x / math.sqrt(sum(y * y for y in row)) for x in row]  # noqa: E731
    z, others = [unit(r) for r in z], [unit(r) for r in others]
    alpha = 0.0 if rule == "hardest" else alpha
    total, anchors = 0.0, 0
    for i, anchor in enumerate(z):
        d = [1 - sum(a * b for a, b in zip(anchor, other, strict=True)) for other in others]
        s = [float(x) for x in similarity.values[i]]
        v = [bool(x) for x in similarity.valid[i]]
        p_score, n_score = {}, {}
        for j in range(len(others)):
            if similarity.positive[i, j]:
                p_score[j] = d[j] + (alpha * (1 - s[j]) if v[j] else 0.0)
            if similarity.negative[i, j]:
                n_score[j] = d[j] - (alpha * s[j] if v[j] else 0.0)
        if not p_score or not n_score:
            continue
        p = max(p_score, key=p_score.get)
        pool = n_score
        if rule == "semihard":
            farther = {j: x for j, x in n_score.items() if d[j] > d[p]}
            pool = farther or n_score
        n = min(pool, key=pool.get)
        m = margin * (1 - (s[n] if v[n] else 0.0)) if graded else margin
        x = d[p] - d[n] + m
        total += math.log1p(math.exp(x)) if softplus else max(0.0, x)
        anchors += 1
    return total / anchors if anchors else 0.0


def soft_label_loop(z, values, known, temperature, weights_of):
    """Mean over anchors of -sum_j t_ij log p_ij; `weights_of` gives an anchor's t from its S."""
    z = [[float(x) for x in row] for row in z]
    z = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in z]
    terms = []
    for i, anchor in enumerate(z):
        others = [j for j in range(len(z)) if j != i and known[i][j]]
        targets = weights_of([float(values[i][j]) for j in others])
        if not targets or sum(targets) == 0:
            continue
        scores = [sum(a * b for a, b in zip(anchor, z[j], strict=True)) for j in others]
        total = sum(math.exp(score / temperature) for score in scores)
        log_p = [score / temperature - math.log(total) for score in scores]
        terms.append(-sum(t * p for t, p in zip(targets, log_p, strict=True)))
    return sum(terms) / len(terms) if terms else 0.0


def random_similarity(size, width, generator, missing=0.3, identities=3):
    """Random S with missing entries, and P and N from random identities."""
    valid = torch.rand(size, width, generator=generator) > missing
    values = torch.rand(size, width, generator=generator, dtype=torch.float64) * valid
    rows = torch.randint(-1, identities, (size,), generator=generator)
    columns = rows if width == size else torch.randint(-1, identities, (width,))
    known = (rows.unsqueeze(1) >= 0) & (columns >= 0)
    same = rows.unsqueeze(1) == columns
    itself = torch.eye(size, width, dtype=torch.bool) if width == size else torch.tensor(False)
    return Similarity.of_tensors(values, valid, known & same & ~itself, known & ~same)
