"""Studies, read from one YAML: each names systems that are compared, and their conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from itertools import product
from pathlib import Path

from ruamel.yaml import YAML

from masr_modules.config.provenance import fingerprint, same_training
from masr_modules.metrics.tables import format_table
from masr_modules.reporting.comparison import compare_table, table_columns
from masr_modules.reporting.left_out import left_out_tables
from masr_modules.reporting.pretrain_record import (
    RATES,
    STRATA,
    UTTERANCE_EMBEDDING,
    PretrainRun,
    System,
)
from masr_modules.reporting.runs import Record

#: Rows of systems that train nothing: they are recorded once per seed, with the first system.
BASELINES = ("untrained", "start", "log-mel statistics", "MFCC statistics", "quiet frames")
#: Rows of other projects' encoders, which benchmarks/peers.py measures.
PEERS = ("Resemblyzer", "eGeMAPS")
#: Keys of an experiment that a peer's row depends on: they say what is measured, and how.
MEASURED = (
    *("train_csv", "valid_csv", "test_csv", "labelled_csv"),
    *("sample_rate", "evaluated_per_speaker", "max_eval_seconds", "questions"),
)
#: SSL method -> its YAML for the synthetic corpus.
METHODS = {"best_rq": "masr.yaml"} | {
    name: f"pretrain_{name}.yaml" for name in ("wav2vec2", "w2v_bert", "hubert", "data2vec")
}


@dataclass(frozen=True)
class Study:
    """A set of arms that are run and compared in tables and pictures.

    Arguments
    ---------
    name : str
        The name in its blocks of Markdown: pretrain-NAME and pretrain-NAME-gains.
    systems : list of str
        The systems; the last is compared with the arms of `against`.
    conditions : mapping of (float or str) to (str or None)
        Place on a curve's axis -> condition, None for no condition. Without an axis the places are
        numbers from 0, or, with `left_out`, corpora.
    axis : str, optional
        The label of the axis.
    level : list of str
        Systems that the conditions do not change: they run without, and their curve is level.
    seeds : list of int
        The seeds of training.
    against : list of str
        The arms and baselines that the last arm is compared with.
    only : list of str, optional
        The languages that differences are over; by default all.
    files : list of str
        The Markdown files that hold its blocks, from the repository's root.
    picture : mapping, optional
        `file` and `metrics` of a picture of curves.
    languages : mapping, optional
        `file` and `metric` of a picture with a row for each language; it shows the gain of the last
        arm over the arm `less`.
    ssl : str
        The SSL method, a key of METHODS.
    validation : bool
        Whether its table is of the validation set, on which a choice was made.
    experiment : str, optional
        The name of another YAML of hparams/ than the method's, without the extension. With another
        SSL method than BEST-RQ, the YAML is EXPERIMENT_SSL.yaml.
    left_out : bool
        Whether each condition leaves out the corpus that is its place: then the tables have a row
        for each system, tested on the corpora that its trainings left out.
    """

    name: str
    systems: list[str]
    conditions: Mapping[float | str, str | None] = field(default_factory=lambda: {0: None})
    axis: str | None = None
    level: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [1234])
    against: list[str] = field(default_factory=list)
    only: list[str] | None = None
    files: list[str] = field(default_factory=list)
    picture: Mapping | None = None
    languages: Mapping | None = None
    ssl: str = "best_rq"
    validation: bool = False
    experiment: str | None = None
    left_out: bool = False

    @property
    def yaml(self) -> str:
        """The name of its YAML in hparams/."""
        return f"{self.kind}.yaml" if self.experiment else METHODS[self.ssl]

    @property
    def kind(self) -> str:
        """The name that its runs share: EXPERIMENT, EXPERIMENT_SSL, or the method alone."""
        if self.experiment and self.ssl != "best_rq":
            return f"{self.experiment}_{self.ssl}"
        return self.experiment or self.ssl

    @property
    def record(self) -> str:
        """The path of the record of its runs, from the repository's root."""
        folder = f"{self.experiment}/" if self.experiment else ""
        return f"recipes/pretrain/{folder}runs.csv"

    @property
    def arms(self) -> list[str]:
        """Every system in every condition that changes it."""
        places = product(self.conditions.values(), self.systems)
        return list(dict.fromkeys(self.arm(system, condition) for condition, system in places))

    def curve(self, system: str) -> list[tuple[float, str]]:
        """Returns the places on the axis and the arms of a system there, from left to right."""
        return [(at, self.arm(system, self.conditions[at])) for at in sorted(self.conditions)]

    def arm(self, system: str, condition: str | None) -> str:
        """Returns the name of a system in a condition."""
        return f"{system}, {condition}" if condition and system not in self.level else system


class Studies(Mapping):
    """The studies of a YAML by their names, and the keys that each arm overrides.

    Arguments
    ---------
    path : str or Path
        The YAML, such as recipes/study/studies.yaml.

    Raises
    ------
    ValueError
        If an arm of a study has a system or condition that the YAML does not define, if two of its
        conditions override the same key, or if a study's SSL method is not one of METHODS.

    Example
    -------
    >>> path = getfixture("tmp_path") / "studies.yaml"
    >>> _ = path.write_text(
    ...     "systems: {SSL: {masr_weight: 0}, MASR: {}}\\n"
    ...     "conditions: {half: {missing_labels: {language: 0.5}}}\\n"
    ...     "studies: {missing: {systems: [SSL, MASR], conditions: [null, half]}}\\n"
    ... )
    >>> studies = Studies(path)
    >>> studies["missing"].arms
    ['SSL', 'MASR', 'SSL, half', 'MASR, half']
    >>> studies.overrides("SSL, half")
    ['--masr_weight', '0', '--missing_labels', '{language: 0.5}']
    """

    def __init__(self, path: str | Path):
        tree = YAML().load(Path(path).read_text(encoding="utf-8"))
        self.systems, self.conditions = tree["systems"], tree["conditions"]
        self.summary = tree.get("summary")
        self.studies = {name: _study(name, keys) for name, keys in tree["studies"].items()}
        for arm in self.arms:
            self.changes(arm)
        if unknown := {study.ssl for study in self.values()} - {*METHODS}:
            raise ValueError(f"{path}: ssl {sorted(unknown)}: choose one of {', '.join(METHODS)}")

    def __getitem__(self, name: str) -> Study:
        return self.studies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.studies)

    def __len__(self) -> int:
        return len(self.studies)

    @property
    def arms(self) -> list[str]:
        """The arms of all studies, each once."""
        return list(dict.fromkeys(arm for study in self.studies.values() for arm in study.arms))

    @property
    def first(self) -> str:
        """The system whose runs also measure the baselines."""
        return next(iter(self.systems))

    def changes(self, arm: str) -> dict[str, object]:
        """Returns key of the experiment's YAML -> the value that an arm sets.

        Raises
        ------
        ValueError
            If the YAML does not define the arm's system or one of its conditions, or two of its
            conditions override the same key.
        """
        fitting = [name for name in self.systems if f"{arm}, ".startswith(f"{name}, ")]
        if not fitting:
            raise ValueError(f"arm {arm!r}: its system is not one of {', '.join(self.systems)}")
        system = max(fitting, key=len)
        changes = dict(self.systems[system].items())
        for condition in filter(None, arm.removeprefix(system).split(", ")):
            if condition not in self.conditions:
                raise ValueError(f"arm {arm!r}: there is no condition {condition!r}")
            own = dict(self.conditions[condition].items())
            if both := {*changes} & {*own} - {*self.systems[system]}:
                raise ValueError(f"arm {arm!r}: two of its conditions override {sorted(both)}")
            changes |= own
        return changes

    def same_encoder(self, arm: str, other: str) -> bool:
        """Returns whether two arms train the same encoder; they may differ in what is measured."""
        return same_training(self.changes(arm), self.changes(other))

    def overrides(self, arm: str) -> list[str]:
        """Returns an arm's overrides as arguments of the command line."""
        changes = self.changes(arm).items()
        return [text for key, value in changes for text in (f"--{key}", _text(value))]


def _study(name: str, keys: Mapping) -> Study:
    keys = dict(keys.items())
    conditions = keys.pop("conditions", [None])
    if not isinstance(conditions, Mapping):
        conditions = dict(enumerate(conditions))
    return Study(name, conditions=dict(conditions.items()), **keys)


def _text(value: object) -> str:
    """Writes a value as YAML in one line."""
    if value is None:
        return "null"
    yaml, text = YAML(), StringIO()
    yaml.width = 10**9
    yaml.dump({"key": value}, text)
    return text.getvalue().removeprefix("key:").strip()


class Comparison:
    """The arms of one experiment, with their recorded metrics and tables.

    Arguments
    ---------
    studies : Studies
        The studies, which define the arms.
    yaml : str or Path
        The experiment's YAML.
    ssl : str
        The experiment's SSL method, a key of METHODS.
    record : Record
        The record of pretraining.
    labels : mapping
        The labels of the test set, from masr_modules.reporting.pretrain_record.load_labels.
    extra : sequence of str
        Overrides of every run, as arguments of the command line.
    """

    def __init__(
        self,
        studies: Studies,
        yaml: str | Path,
        ssl: str,
        record: Record[PretrainRun],
        labels: Mapping[str, Mapping[str, str]],
        extra: Sequence[str] = (),
    ):
        self.studies, self.yaml, self.ssl, self.record = studies, yaml, ssl, record
        self.labels, self.extra = labels, list(extra)
        self.key = cache(self._key)

    def _key(self, arm: str) -> str:
        """Returns the fingerprint of an arm's settings without the seed.

        An arm's utterance embedding has the fingerprint of the arm, and a baseline that of the
        first system. A peer has that of the keys MEASURED alone, because its row does not depend
        on how the systems are trained.
        """
        if arm in PEERS:
            return fingerprint(self.yaml, self.extra, only=MEASURED)
        arm = self.studies.first if arm in BASELINES else arm.removesuffix(UTTERANCE_EMBEDDING)
        return fingerprint(self.yaml, [*self.studies.overrides(arm), *self.extra])

    def system(self, arm: str) -> System:
        """Returns the key that the runs of an arm share in the record: all but the seed."""
        return self.key(arm), self.ssl, arm

    def recorded(self, arm: str, seeds: Sequence[int]) -> list[int]:
        """Returns those of the seeds for which the record has a run of the arm."""
        system = self.system(arm)
        return [seed for seed in seeds if PretrainRun(*system, seed) in self.record]

    def metrics(self, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, list[dict]]:
        """Returns arm -> its metrics with each recorded seed; baselines and peers come last."""
        found = {}
        for arm in (*arms, *BASELINES, *PEERS):
            if there := self.recorded(arm, seeds):
                runs = (PretrainRun(*self.system(arm), seed) for seed in there)
                found[arm] = [self.record.metrics(run) for run in runs]
                found[arm][0] = found[arm][0] | {"seeds": len(there)}
        return found

    def gains(self, arm: str, against: Sequence[str], only: Sequence[str] | None = None) -> str:
        """Makes the table of an arm's differences from others, as far as they are recorded."""
        others = [self.system(name) for name in against if self.common(arm, name)]
        return compare_table(self.record, self.system(arm), others, self.labels, only)

    def common(self, arm: str, other: str) -> set[int]:
        """Returns the seeds that the record has of both arms."""
        ours, theirs = (self.record.seeds(self.system(name)) for name in (arm, other))
        return {*ours} & {*theirs}

    def tables(
        self, study: Study, arms: Sequence[str], seeds: Sequence[int], against: Sequence[str]
    ) -> dict[str, str]:
        """Returns name of a block, without its prefix -> the block's table.

        If the study leaves out corpora, its own arms and `against` replace these arguments.
        """
        if study.left_out:
            return self._left_out(study, seeds)
        columns = [("seeds", "seeds", "count"), *table_columns(self.labels)]
        if study.validation:
            columns = [
                (title, f"valid_{key}" if key in (*STRATA, *RATES) else key, kind)
                for title, key, kind in columns
            ]
        embeddings = [arm + UTTERANCE_EMBEDDING for arm in arms]
        theirs = [name + UTTERANCE_EMBEDDING if name in arms else name for name in against]
        tables = {}
        for name, rows, others in (
            (study.name, arms, against),
            (f"{study.name}-embeddings", embeddings, theirs),
        ):
            if any(self.recorded(row, seeds) for row in rows):
                tables[name] = format_table(self.metrics(rows, seeds), columns)
            if any(self.common(rows[-1], other) for other in others):
                tables[f"{name}-gains"] = self.gains(rows[-1], others, study.only)
        return tables

    def _left_out(self, study: Study, seeds: Sequence[int]) -> dict[str, str]:
        """Returns the tables of a study that leaves out one corpus in each training."""
        systems = {
            system: {
                corpus: self.system(study.arm(system, condition))
                for corpus, condition in study.conditions.items()
            }
            for system in study.systems
        }
        tables = left_out_tables(self.record, systems, self.labels, seeds, study.against)
        names = (study.name, f"{study.name}-gains")
        return {name: table for name, table in zip(names, tables, strict=True) if table}
