"""The results of an analysis, as tables and as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encoder_analysis.confusion import confused_pairs, pair_rate
from encoder_analysis.mantel import bootstrap, interval
from encoder_analysis.measures import Languages, Measured
from encoder_analysis.systems import System
from encoder_analysis.utterances import Utterances
from masr_modules.knowledge.descent import display_name
from masr_modules.metrics.intervals import Difference, paired_difference
from masr_modules.metrics.tables import align, format_number
from masr_modules.reporting.comparison import format_difference

_PROBES = {"knn": "kNN", "linear": "linear"}


@dataclass
class Findings:
    """All results of an analysis.

    Arguments
    ---------
    csv : str
        Path of the analysed CSV.
    probe : str
        knn or linear.
    utterances : Utterances
        The utterances, the same for all systems.
    languages : Languages
        Their languages.
    systems : dict of str to (System, Measured)
        Name -> system and its measures, with the other checkpoint first, where there is one.
    """

    csv: str
    probe: str
    utterances: Utterances
    languages: Languages
    systems: dict[str, tuple[System, Measured]]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs that the systems confuse most, in the mean over systems.

        Pairs chosen by one system alone would look better in the other by chance.
        """
        matrices = [measured.confusion for _, measured in self.systems.values()]
        return confused_pairs(np.mean(matrices, axis=0), self.languages.codes)

    @cached_property
    def gain(self) -> Difference | None:
        """Accuracy of the last system less that of the first; the interval is over speakers."""
        if len(self.systems) < 2:
            return None
        right = [
            {0: (system.predicted == system.truth).astype(float)}
            for system, _ in self.systems.values()
        ]
        truth = next(iter(self.systems.values()))[0].truth
        speakers = self.utterances.column("speaker")
        return paired_difference(right[-1], right[0], truth, speakers, given_encoders=True)

    @cached_property
    def correlation_gains(self) -> dict[str, Difference]:
        """Kind -> correlation of the last system less that of the first, over languages."""
        if len(self.systems) < 2:
            return {}
        measured = [measured for _, measured in self.systems.values()]
        gains = {}
        for kind in measured[0].correlations:
            reference = self.languages.distances[kind]
            first, last = (bootstrap(m.centroids, reference) for m in measured)
            mean = measured[-1].correlations[kind].value - measured[0].correlations[kind].value
            gains[kind] = Difference(mean, *interval(last - first))
        return gains


def as_markdown(found: Findings) -> str:
    """Returns the tables as Markdown."""
    sections = [
        f"# Analysis of {found.csv}",
        _utterance_text(found),
        "## Languages, by the probe",
        _system_table(found),
        *([_gain_text(found)] if found.gain else []),
        "## Mistakes inside a group and across",
        _group_table(found),
        "## Most confused pairs",
        _pair_table(found),
        "## Distances of centroids and by URIEL+",
        _distance_table(found),
        "## Trees",
        _tree_table(found),
        "## Nearest neighbours with the same value",
        _purity_table(found),
    ]
    return "\n\n".join(sections) + "\n"


def as_json(found: Findings) -> dict:
    """Returns every number for JSON; unknown ones are None."""
    gain = found.gain
    return _plain(
        {
            "csv": found.csv,
            "probe": found.probe,
            "utterances": len(found.utterances.rows),
            "left_out": dict(found.utterances.left_out),
            "languages": found.languages.codes,
            "groups": found.languages.groups,
            "gain": gain._asdict() if gain else None,
            "correlation_gains": {k: g._asdict() for k, g in found.correlation_gains.items()},
            "systems": {
                name: _system_json(found, system, measured)
                for name, (system, measured) in found.systems.items()
            },
        }
    )


def _system_json(found: Findings, system: System, measured: Measured) -> dict:
    trees = measured.trees
    names = ("own_cophenetic", "descent_cophenetic", "between")
    return {
        "layer": system.layer,
        "valid_accuracy": system.valid_score,
        "accuracy": system.accuracy,
        "groups": {level: group._asdict() for level, group in measured.groups.items()},
        "confusion": measured.confusion.tolist(),
        "most_confused": [
            [*pair, pair_rate(measured.confusion, found.languages.codes, pair)]
            for pair in found.pairs
        ],
        "centroid_distances": measured.centroids.tolist(),
        "correlations": {kind: c._asdict() for kind, c in measured.correlations.items()},
        "trees": {name: getattr(trees, name) for name in names} if trees else None,
        "purity": {title: p._asdict() for title, p in measured.purities.items()},
    }


def _plain(value):
    """Replaces NaN and infinity, which JSON lacks, by None, and NumPy's numbers by Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _utterance_text(found: Findings) -> str:
    gone = ", ".join(f"{count} {reason}" for reason, count in found.utterances.left_out.items())
    unplaced = [
        code
        for code, placed in zip(found.languages.codes, found.languages.placed, strict=True)
        if not placed
    ]
    trees = f" Not in the trees, of unknown descent: {', '.join(unplaced)}." if unplaced else ""
    return (
        f"{len(found.utterances.rows)} utterances in {len(found.languages.codes)} languages; "
        f"left out: {gone or 'none'}.{trees}"
    )


def _system_table(found: Findings) -> str:
    probe = _PROBES[found.probe]
    header = ["encoder", "layer", f"valid {probe} (%)", f"language {probe} (%)"]
    body = [
        [name, str(system.layer), _share(system.valid_score), _share(system.accuracy)]
        for name, (system, _) in found.systems.items()
    ]
    return align(header, body)


def _gain_text(found: Findings) -> str:
    before, after = found.systems
    return (
        f"{after} less {before}: {format_difference(found.gain, 'share')} points, with the 95 % "
        "interval of these two encoders over speakers."
    )


def _group_table(found: Findings) -> str:
    header = ["encoder", "group", "named right (%)", "mistakes inside (%)", "across (%)"]
    header += ["of mistakes inside (%)", "by chance (%)"]
    body = [
        [name, level, *map(_share, group)]
        for name, (_, measured) in found.systems.items()
        for level, group in measured.groups.items()
    ]
    return align(header, body)


def _pair_table(found: Findings) -> str:
    if not found.pairs:
        return "No language was taken for another."
    codes, group_of = found.languages.codes, found.languages.coloured
    body = [
        [
            " and ".join(map(display_name, pair)),
            " and ".join(dict.fromkeys(group_of[code] for code in pair)),
            *(_share(pair_rate(m.confusion, codes, pair)) for _, m in found.systems.values()),
        ]
        for pair in found.pairs
    ]
    return align(["pair", "descent", *(f"{name} (%)" for name in found.systems)], body)


def _distance_table(found: Findings) -> str:
    header = [
        "encoder",
        "distance",
        "Spearman",
        "95 % interval",
        "p (Mantel)",
        "languages",
        "pairs",
    ]
    body = [
        [
            *(name, kind, format_number(c.value), _span(c.low, c.high)),
            *(format_number(c.p, 4), str(c.languages), str(c.pairs)),
        ]
        for name, (_, measured) in found.systems.items()
        for kind, c in measured.correlations.items()
    ]
    body += [
        [" less ".join(reversed(found.systems)), kind, f"{mean:+.3f}", _span(low, high), "", "", ""]
        for kind, (mean, low, high) in found.correlation_gains.items()
    ]
    return align(header, body)


def _tree_table(found: Findings) -> str:
    trees = {name: m.trees for name, (_, m) in found.systems.items() if m.trees}
    if not trees:
        return "Fewer than three languages of known descent: no trees."
    header = ["encoder", "cophenetic, centroids", "cophenetic, descent", "between the trees"]
    body = [
        [name, *map(format_number, (t.own_cophenetic, t.descent_cophenetic, t.between))]
        for name, t in trees.items()
    ]
    return align(header, body)


def _purity_table(found: Findings) -> str:
    measured = {name: m.purities for name, (_, m) in found.systems.items()}
    first = next(iter(measured.values()))
    body = [
        [
            *(title, str(first[title].values), str(first[title].utterances)),
            _share(first[title].chance),
            *(_share(purities[title].share) for purities in measured.values()),
        ]
        for title in first
    ]
    header = ["attribute", "values", "utterances", "chance (%)", *(f"{n} (%)" for n in measured)]
    return align(header, body)


def _span(low: float, high: float) -> str:
    return f"[{format_number(low)}, {format_number(high)}]"


def _share(value: float) -> str:
    return format_number(100 * value, 1)
