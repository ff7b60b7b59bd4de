"""The index of results: one row for each experiment, with its recorded figures or "not run"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path

from ruamel.yaml import YAML

from masr_modules.metrics.tables import KINDS, align, format_cell

#: Separator of a row's metrics, and of their figures.
BETWEEN = " / "
HEADER = (
    *("release", "hyperparameters", "training data", "evaluation data", "metrics"),
    *("MASR", "SSL only", "seeds", "hardware", "time", "page"),
)


@dataclass(frozen=True)
class Experiment:
    """A row of the index.

    Arguments
    ---------
    yaml : str
        Its YAML in hparams/.
    train, evaluation : str
        The data that it learns from, and the data that it is evaluated on.
    page : str
        The page of its tables or its recipe, from the repository's root; it may have an anchor.
    study : str, optional
        The study whose record has its figures.
    task : str, optional
        The downstream task whose record has its figures.
    corpus : str
        The corpus of the task's runs.
    metrics : tuple of str
        Keys of the record.
    note : str
        The text in the place of figures if neither a study nor a task has any.
    """

    yaml: str
    train: str
    evaluation: str
    page: str
    study: str | None = None
    task: str | None = None
    corpus: str = "mini"
    metrics: tuple[str, ...] = ()
    note: str = "not run"


@dataclass(frozen=True)
class Figures:
    """The recorded figures of an experiment.

    Arguments
    ---------
    ours, baseline : sequence of dict[str, float]
        The metrics of each seed, with MASR and with SSL only; the latter may not have been run.
    columns : sequence of (str, str, str)
        Title, key and kind of each metric that the row shows.
    system : str
        The conditions by which MASR's arm differs from its default, or nothing.
    time : str
        The time that a recorded command printed, or nothing.
    """

    ours: Sequence[Mapping[str, float]]
    baseline: Sequence[Mapping[str, float]]
    columns: Sequence[tuple[str, str, str]]
    system: str = ""
    time: str = ""


class ResultsIndex:
    """The experiments of the index, read from one YAML.

    Arguments
    ---------
    path : str or Path
        The YAML, with the `release` and `hardware` of the recorded figures, and `experiments`.

    Raises
    ------
    ValueError
        If two experiments have the same YAML.

    Example
    -------
    >>> path = getfixture("tmp_path") / "results.yaml"
    >>> _ = path.write_text(
    ...     "release: 0.2.0\\nhardware: 2 CPU cores\\nexperiments:\\n"
    ...     "  - {yaml: a.yaml, train: A, evaluation: B, page: docs/a.md, study: a}\\n"
    ...     "  - {yaml: b.yaml, train: C, evaluation: D, page: docs/b.md}\\n"
    ... )
    >>> runs = [{"linear": 0.5}, {"linear": 0.6}]
    >>> figures = {"a.yaml": Figures(runs, runs[:1], [("linear", "linear", "share")])}
    >>> table = ResultsIndex(path).table(figures, "docs/results")
    >>> table.splitlines()[2].split(" | ")[4:8]
    ['linear (%)', '55.0 ± 7.1', '50.0    ', '2; SSL only 1']
    >>> "not run" in table.splitlines()[3]
    True
    """

    def __init__(self, path: str | Path):
        tree = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
        self.release, self.hardware = str(tree["release"]), tree["hardware"]
        rows = [{**row, "metrics": tuple(row.get("metrics", ()))} for row in tree["experiments"]]
        self.experiments = [Experiment(**row) for row in rows]
        names = [experiment.yaml for experiment in self.experiments]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{path}: {', '.join(twice)} has several rows: keep one of each")

    def table(self, figures: Mapping[str, Figures], folder: str) -> str:
        """Makes the Markdown table.

        Arguments
        ---------
        figures : mapping of str to Figures
            YAML -> its recorded figures; an experiment without any shows its note, "not run" by
            default.
        folder : str
            The folder of the table's page, from the repository's root: links start there.
        """
        body = []
        for row in self.experiments:
            found = figures.get(row.yaml)
            link = f"[{row.yaml}]({relpath(f'hparams/{row.yaml}', folder)})"
            page = f"[{_name(row.page)}]({relpath(row.page, folder)})"
            cells = self._figures(found) if found else ["", row.note, "", "", "", ""]
            measured = [self.release if found else "", link + (found.system if found else "")]
            body.append([*measured, row.train, row.evaluation, *cells, page])
        return align(HEADER, body)

    def _figures(self, found: Figures) -> list[str]:
        units = [title + KINDS[kind][2] for title, _, kind in found.columns]
        cells = [
            BETWEEN.join(
                format_cell([run.get(key) for run in runs], kind) for _, key, kind in found.columns
            )
            for runs in (found.ours, found.baseline)
        ]
        ours, baseline = len(found.ours), len(found.baseline)
        seeds = f"{ours}" if baseline in (0, ours) else f"{ours}; SSL only {baseline}"
        return [BETWEEN.join(units), *cells, seeds, self.hardware, found.time]


def _name(page: str) -> str:
    """Returns the name of a page: that of its file or, for a README, that of its folder."""
    path = Path(page.partition("#")[0])
    return path.parent.name if path.stem == "README" else path.stem
