"""Studies: which systems are compared under which conditions, read from one YAML."""

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
from masr_modules.reporting.pretrain_record import (
    RATES,
    STRATA,
    UTTERANCE_EMBEDDING,
    PretrainRun,
    System,
)
from masr_modules.reporting.runs import Record

#: Rows that train nothing: recorded once per seed, beside the first system.
BASELINES = ("untrained", "start", "log-mel statistics", "MFCC statistics", "quiet frames")
#: Rows of others' encoders, which benchmarks/peers.py measures.
PEERS = ("Resemblyzer", "eGeMAPS")
#: Keys of an experiment that a peer's row depends on: what is measured, and how.
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
    """What is run, and what is made of it.

    Arguments
    ---------
    name : str
        Of its blocks: pretrain-NAME and pretrain-NAME-gains.
    systems : list of str
        The last is compared with those of `against`.
    conditions : mapping of float to (str or None)
        Place on a curve's axis -> condition; without an axis, numbered.
    axis : str, optional
        What the places are.
    level : list of str
        Systems that the conditions do not reach: they run without, and their curve is level.
    seeds : list of int
        Of training.
    against : list of str
        Arms and baselines.
    only : list of str, optional
        Languages that differences are over.
    files : list of str
        Markdown files, from the repository's root.
    picture : mapping, optional
        `file` and `metrics`.
    languages : mapping, optional
        `file` and `metric` of a picture with a row for each language; `less` is the arm that the
        last one's gain is over.
    ssl : str
        The SSL method, of METHODS.
    validation : bool
        Whether its table is of the validation set: it shows what a choice was made by.
    experiment : str, optional
        Another YAML of hparams/ than the method's, without its ending.
    """

    name: str
    systems: list[str]
    conditions: Mapping[float, str | None] = field(default_factory=lambda: {0: None})
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

    @property
    def yaml(self) -> str:
        """Its file in hparams/."""
        return f"{self.experiment}.yaml" if self.experiment else METHODS[self.ssl]

    @property
    def kind(self) -> str:
        """What its runs share: the experiment, or the SSL method on the synthetic corpus."""
        return self.experiment or self.ssl

    @property
    def record(self) -> str:
        """Where its runs are recorded, from the repository's root."""
        folder = f"{self.experiment}/" if self.experiment else ""
        return f"recipes/pretrain/{folder}runs.csv"

    @property
    def arms(self) -> list[str]:
        """Every system in every condition that reaches it."""
        places = product(self.conditions.values(), self.systems)
        return list(dict.fromkeys(self._arm(system, condition) for condition, system in places))

    def curve(self, system: str) -> list[tuple[float, str]]:
        """Place on the axis and arm of a system, from left to right."""
        return [(at, self._arm(system, self.conditions[at])) for at in sorted(self.conditions)]

    def _arm(self, system: str, condition: str | None) -> str:
        return f"{system}, {condition}" if condition and system not in self.level else system


class Studies(Mapping):
    """The YAML: study by name, and what each arm overrides.

    Arguments
    ---------
    path : str or Path
        The YAML, see recipes/study/studies.yaml.

    Raises
    ------
    ValueError
        If a study names an arm whose system or condition is not there or an SSL method that is
        none, or two conditions override the same key.

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
            raise ValueError(f"{path}: ssl {sorted(unknown)}: choose of {', '.join(METHODS)}")

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
        """The system whose runs measure the baselines too."""
        return next(iter(self.systems))

    def changes(self, arm: str) -> dict[str, object]:
        """Key of the experiment's YAML -> the value that an arm puts there."""
        fitting = [name for name in self.systems if f"{arm}, ".startswith(f"{name}, ")]
        if not fitting:
            raise ValueError(f"arm {arm!r}: its system is none of {', '.join(self.systems)}")
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
        """Whether two arms train the same encoder, and differ at most in what is measured of it."""
        return same_training(self.changes(arm), self.changes(other))

    def overrides(self, arm: str) -> list[str]:
        """What an arm overrides, as on the command line."""
        changes = self.changes(arm).items()
        return [text for key, value in changes for text in (f"--{key}", _text(value))]


def _study(name: str, keys: Mapping) -> Study:
    keys = dict(keys.items())
    conditions = keys.pop("conditions", [None])
    if not isinstance(conditions, Mapping):
        conditions = dict(enumerate(conditions))
    return Study(name, conditions=dict(conditions.items()), **keys)


def _text(value: object) -> str:
    """YAML in one line."""
    if value is None:
        return "null"
    yaml, text = YAML(), StringIO()
    yaml.width = 10**9
    yaml.dump({"key": value}, text)
    return text.getvalue().removeprefix("key:").strip()


class Comparison:
    """Arms of one experiment, and what is recorded of them.

    Arguments
    ---------
    studies : Studies
        The arms.
    yaml : str or Path
        The experiment.
    ssl : str
        Its SSL method, of METHODS.
    record : Record
        Of pretraining.
    labels : mapping
        Those of the test set, from masr_modules.reporting.pretrain_record.load_labels.
    extra : sequence of str
        Overrides of every run.
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
        """Fingerprint of an arm's settings, seed aside; a baseline has that of the first system.

        An arm's utterance embedding has that of the arm. A peer has that of what is measured: it
        is the same however the systems are trained.
        """
        if arm in PEERS:
            return fingerprint(self.yaml, self.extra, only=MEASURED)
        arm = self.studies.first if arm in BASELINES else arm.removesuffix(UTTERANCE_EMBEDDING)
        return fingerprint(self.yaml, [*self.studies.overrides(arm), *self.extra])

    def system(self, arm: str) -> System:
        """What the runs of an arm have in common in the record."""
        return self.key(arm), self.ssl, arm

    def recorded(self, arm: str, seeds: Sequence[int]) -> list[int]:
        """Returns those of the seeds whose runs the record has."""
        system = self.system(arm)
        return [seed for seed in seeds if PretrainRun(*system, seed) in self.record]

    def metrics(self, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, list[dict]]:
        """Arm -> its metrics with each seed that the record has; baselines and peers last."""
        found = {}
        for arm in (*arms, *BASELINES, *PEERS):
            if there := self.recorded(arm, seeds):
                runs = (PretrainRun(*self.system(arm), seed) for seed in there)
                found[arm] = [self.record.metrics(run) for run in runs]
                found[arm][0] = found[arm][0] | {"seeds": len(there)}
        return found

    def gains(self, arm: str, against: Sequence[str], only: Sequence[str] | None = None) -> str:
        """The table of what an arm is above others, as far as they are recorded."""
        others = [self.system(name) for name in against if self.common(arm, name)]
        return compare_table(self.record, self.system(arm), others, self.labels, only)

    def common(self, arm: str, other: str) -> set[int]:
        """Seeds that the record has of both."""
        ours, theirs = (self.record.seeds(self.system(name)) for name in (arm, other))
        return {*ours} & {*theirs}

    def tables(
        self, study: Study, arms: Sequence[str], seeds: Sequence[int], against: Sequence[str]
    ) -> dict[str, str]:
        """Name of a block, less the prefix -> its table."""
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
