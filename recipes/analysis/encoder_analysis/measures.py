"""All measures of one encoder, computed from its points and predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder_analysis.colours import MOST
from encoder_analysis.confusion import GroupAccuracy, confusion_matrix, group_accuracy
from encoder_analysis.geometry import centroid_distances
from encoder_analysis.mantel import DRAWS, PERMUTATIONS, Correlation, mantel
from encoder_analysis.purity import ATTRIBUTES, Purity, purities
from encoder_analysis.systems import System
from encoder_analysis.trees import Trees, compare_trees
from encoder_analysis.utterances import Utterances
from masr_modules.knowledge.descent import branches, order_by_descent
from masr_modules.knowledge.language_distances import language_distances
from masr_modules.knowledge.languages import language_family
from masr_modules.metrics.probes import NEIGHBOURS


@dataclass
class Languages:
    """The languages of the utterances, with their groups and distances.

    Arguments
    ---------
    codes : list of str
        L languages, with relatives side by side.
    groups : dict of str to dict
        `family` and, where branches are finer than families, `branch` -> language -> its group,
        for these languages and those that can be predicted.
    distances : dict of str to np.ndarray
        Kind -> (L, L) distances by URIEL+, always with `genetic`.
    """

    codes: list[str]
    groups: dict[str, dict[str, str]]
    distances: dict[str, np.ndarray]

    @classmethod
    def of(cls, spoken: np.ndarray, predictable: np.ndarray, kinds: Sequence[str]) -> "Languages":
        """Describes the languages of (N,) utterances; the probe can predict `predictable`."""
        codes = order_by_descent(spoken.tolist())
        everything = order_by_descent([*spoken.tolist(), *predictable.tolist()])
        families = {code: language_family(code) or "" for code in everything}
        groups = {"family": families, "branch": branches(everything, MOST)}
        if len({*groups["branch"].values()}) == len({*families.values()}):
            del groups["branch"]
        distances = {
            kind: language_distances(codes, kind) for kind in dict.fromkeys([*kinds, "genetic"])
        }
        return cls(codes, groups, distances)

    @property
    def coloured(self) -> dict[str, str]:
        """Language -> the group by which pictures colour it."""
        return branches(self.codes, MOST)

    @property
    def placed(self) -> np.ndarray:
        """(L,) whether the descent is known, so that the language is in the trees."""
        return ~np.isnan(self.distances["genetic"].diagonal())


@dataclass
class Measured:
    """The measures of a system.

    Arguments
    ---------
    confusion : np.ndarray
        (L, L), see `confusion_matrix`.
    groups : dict of str to GroupAccuracy
        `family` and `branch` -> mistakes inside and across.
    centroids : np.ndarray
        (L, L) cosine distances of the languages' centroids.
    correlations : dict of str to Correlation
        Kind of distance -> its correlation with `centroids`.
    purities : dict of str to Purity
        Title of an attribute -> purity of the neighbours.
    trees : Trees or None
        The trees; None with fewer than three languages of known descent.
    """

    confusion: np.ndarray
    groups: dict[str, GroupAccuracy]
    centroids: np.ndarray
    correlations: dict[str, Correlation]
    purities: dict[str, Purity]
    trees: Trees | None


def measure(
    system: System,
    utterances: Utterances,
    languages: Languages,
    kinds: Sequence[str],
    permutations: int = PERMUTATIONS,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
) -> Measured:
    """Computes all measures of a system.

    Arguments
    ---------
    system : System
        N points and predictions.
    utterances : Utterances
        The same N utterances.
    languages : Languages
        Their languages.
    kinds : sequence of str
        Kinds of distance with which the centroids' distances are compared.
    permutations : int
        Number of permutations of the Mantel test, and of draws of the bootstrap, there at most
        DRAWS.
    neighbours : int
        Number k of neighbours of the purity.
    seed : int
        Seed of permutations and bootstrap.
    """
    centroids = centroid_distances(system.points, system.truth, languages.codes)
    columns = {
        name: utterances.column(name)
        for attribute in ATTRIBUTES
        for name in (attribute.column, *attribute.different)
    }
    placed = np.ix_(languages.placed, languages.placed)
    genetic = languages.distances["genetic"][placed]
    grown = not np.isnan(genetic).any() and len(genetic) > 2
    return Measured(
        confusion_matrix(system.truth, system.predicted, languages.codes),
        {
            level: group_accuracy(system.truth, system.predicted, groups)
            for level, groups in languages.groups.items()
        },
        centroids,
        {
            kind: mantel(centroids, table, permutations, min(DRAWS, permutations), seed)
            for kind, table in languages.distances.items()
            if kind in kinds
        },
        purities(system.points, columns, neighbours=neighbours),
        compare_trees(centroids[placed], genetic) if grown else None,
    )
