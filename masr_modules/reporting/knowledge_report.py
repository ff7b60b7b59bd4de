"""A report on an experiment's knowledge about a corpus: its coverage, agreement and hard pairs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from masr_modules.config.extras import skip_without_extra
from masr_modules.config.files import write_atomic
from masr_modules.data.metadata import Metadata, MetadataTable
from masr_modules.heads.masr import candidate_columns
from masr_modules.knowledge import KnowledgeSource, build_sources
from masr_modules.metrics.tables import align, format_number
from masr_modules.pairwise.similarity import combine
from masr_modules.reporting.mining_report import (
    anchor_statistics,
    anchor_text,
    hard_pair_section,
    identity_sections,
)
from masr_modules.training.train_batches import (
    BATCH_OPTIONS,
    BATCH_SETTINGS,
    find_hard_pairs,
    make_sampler,
)

#: The top-level keys of an experiment that the report reads.
SETTINGS = (*BATCH_SETTINGS, "data_folder")
#: Further top-level keys that the report reads, which an experiment may lack.
OPTIONAL = (*BATCH_OPTIONS, "identities", "prototypes", "pair_weight", "loss")

# These bound the cost. Pairs are those inside one draw of 1000 utterances, or inside 8 such draws;
# of the epoch's batches, the first 200 are examined.
_DRAW, _DRAWS = 1000, 8
_BATCHES = 200


@dataclass
class PairStatistics:
    """Statistics of K sources over the same pairs; the last entry is that of their weighted mean.

    Arguments
    ---------
    pairs : int
        Number of pairs examined.
    known : np.ndarray
        (K + 1,) fraction of the pairs that the source knows.
    within : np.ndarray
        (K + 1,) mean similarity of pairs of the same identity, NaN where there are none.
    across : np.ndarray
        (K + 1,) mean similarity of pairs of different identities, NaN where there are none.
    correlation : np.ndarray
        (K + 1, K + 1) Pearson's correlation, over the pairs known to both; NaN where one is
        constant.
    """

    pairs: int
    known: np.ndarray
    within: np.ndarray
    across: np.ndarray
    correlation: np.ndarray


def pair_statistics(
    sources: Sequence[KnowledgeSource],
    metadata: Metadata,
    identity: str,
    seed: int,
) -> PairStatistics:
    """Compares the sources over pairs of utterances.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        K sources.
    metadata : Metadata
        The metadata of all utterances. Of up to 1000 utterances all pairs are examined, of more
        those inside 8 random draws of 1000.
    identity : str
        The column whose labels decide which pairs are of the same identity.
    seed : int
        The seed of the draws.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> metadata = Metadata.from_columns(
    ...     {"language": ["fra", "fra", "deu"], "speaker": ["a", "", "a"]}
    ... )
    >>> found = pair_statistics([Categorical("speaker")], metadata, "language", seed=0)
    >>> found.pairs, found.known.round(2).tolist(), found.across.tolist()
    (3, [0.33, 0.33], [1.0, 1.0])
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.arange(len(metadata))]
    if len(metadata) > _DRAW:
        draws = [torch.randperm(len(metadata), generator=generator)[:_DRAW] for _ in range(_DRAWS)]
    total = defaultdict(float)
    for draw in tqdm(draws, desc="pairs", leave=False, disable=None):
        for name, value in _pair_sums(sources, metadata.select(draw), identity).items():
            total[name] = total[name] + value
    # first[k, l] is the sum of source k's similarity over the pairs known to k and l.
    count, first, second = total["count"], total["first"], total["second"]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = count * second - first**2
        covariance = count * total["product"] - first * first.T
        constant = variance <= 1e-9 * count**2
        correlation = covariance / np.sqrt(variance * variance.T)
        return PairStatistics(
            pairs=int(total["pairs"]),
            known=count.diagonal() / total["pairs"],
            within=total["within"] / total["within_count"],
            across=total["across"] / total["across_count"],
            correlation=np.where(constant | constant.T, np.nan, correlation),
        )


def _pair_sums(
    sources: Sequence[KnowledgeSource], metadata: Metadata, identity: str
) -> dict[str, np.ndarray]:
    """Sums over the pairs of utterances, for each source (K + 1,) or two sources (K + 1, K + 1)."""
    similarity = combine(sources, metadata, identity)
    tables = [source.pairs(metadata[source.column], metadata[source.column]) for source in sources]
    tables.append((similarity.values, similarity.valid))
    once = torch.ones(len(metadata), len(metadata), dtype=torch.bool).triu(1)
    values = torch.stack([table[once] for table, _ in tables]).double()
    valid = torch.stack([known[once] for _, known in tables]).double()
    within = similarity.positive[once].double()
    across = similarity.negative[once].double()
    sums = {
        "count": valid @ valid.T,
        "first": values @ valid.T,
        "second": values**2 @ valid.T,
        "product": values @ values.T,
        "within": values @ within,
        "within_count": valid @ within,
        "across": values @ across,
        "across_count": valid @ across,
    }
    return {"pairs": once.sum().numpy()} | {name: value.numpy() for name, value in sums.items()}


def report(settings: dict, rows: dict[str, dict], output: str | Path) -> str:
    """Writes `report.md` and, if a source grades the labels of the identity, `similarity.png`.

    Arguments
    ---------
    settings : dict
        The keys `SETTINGS` of the experiment, and those of `OPTIONAL` that it has; see
        :func:`masr_modules.config.settings.load_settings`.
    rows : dict[str, dict]
        ID -> row of the corpus, from load_corpora.
    output : str or Path
        The folder for the files.

    Returns
    -------
    str
        The text of the report.

    Raises
    ------
    ValueError
        If the column of a source or of `candidates_by` is not in the CSV, or a source's column
        holds a cell that the source cannot read.
    """
    identity = settings["batch_identity"]
    table = MetadataTable(rows)
    table.require(identity)
    if settings.get("prototypes") is not None:
        for column in candidate_columns(settings["prototypes"]):
            table.require(column)
    sources = build_sources(settings["knowledge"], table)
    found = pair_statistics(sources, table, identity, settings["seed"])
    hard_pairs = find_hard_pairs(settings, rows, table)
    sampler = make_sampler(settings, rows, table, hard_pairs=hard_pairs)
    sampler.set_epoch(1)
    batches = list(sampler)[:_BATCHES]
    sections = [
        _summary(rows, table, identity, found),
        _source_table(sources, table, found),
        "Correlation of the sources' similarities, over the pairs known to both:",
        _correlation_table(sources, found),
        anchor_text(anchor_statistics(batches, len(sampler), table, identity)),
    ]
    if hard_pairs is not None:
        sections += hard_pair_section(hard_pairs, batches)
    for name in settings.get("identities") or [identity]:
        sections += identity_sections(settings, sources, name, batches, table)
    image = Path(output) / "similarity.png"
    with skip_without_extra(image.name):
        from masr_modules.reporting.heat_map import save_heat_map

        if save_heat_map(sources, identity, table, image):
            sections.append(f"Similarity of the labels of '{identity}': {image}")
    text = "\n\n".join(sections) + "\n"
    write_atomic(Path(output) / "report.md", text)
    return text


def _summary(rows: dict, table: MetadataTable, identity: str, found: PairStatistics) -> str:
    known = table[identity] >= 0
    number = (
        f"{len(rows)} utterances, {float(known.float().mean()):.1%} with a {identity}: "
        f"{len(table[identity][known].unique())} different"
    )
    looked_at = "all" if len(rows) <= _DRAW else f"{_DRAWS} random draws of {_DRAW} utterances:"
    return f"{number}. Pairs looked at: {looked_at} {found.pairs}."


def _source_table(
    sources: Sequence[KnowledgeSource], metadata: Metadata, found: PairStatistics
) -> str:
    """Formats a row for each source: the fractions that it knows, and its mean similarities."""
    header = ["source", "weight", "utterances known (%)", "pairs known (%)", "S within", "S across"]
    body = []
    for k, name in enumerate(_names(sources)):
        weight, cells = "", ""
        if k < len(sources):
            values = metadata[sources[k].column]
            known = ~values.isnan() if values.is_floating_point() else values >= 0
            weight, cells = f"{sources[k].weight:g}", f"{100 * float(known.float().mean()):.1f}"
        means = (format_number(mean, 3) for mean in (found.within[k], found.across[k]))
        body.append([name, weight, cells, f"{100 * found.known[k]:.1f}", *means])
    return align(header, body)


def _correlation_table(sources: Sequence[KnowledgeSource], found: PairStatistics) -> str:
    names = _names(sources)
    body = [
        [name, *(format_number(value, 2) for value in row)]
        for name, row in zip(names, found.correlation, strict=True)
    ]
    return align(["", *(name.split()[0] for name in names)], body)


def _names(sources: Sequence[KnowledgeSource]) -> list[str]:
    return [f"{k} {source}" for k, source in enumerate(sources, start=1)] + ["S combined"]
