"""All that is known of a downstream task, in one record: the only thing in which tasks differ.

A new task is a module or a train.py with a Brain and a `TASK`, and a YAML; tables, model cards
and the comparison of encoders follow from the record.
"""

import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from masr_modules.downstream.brain import DownstreamBrain


class Column(NamedTuple):
    """One metric of a table.

    Arguments
    ---------
    title : str
        Above the column.
    key : str
        Of the metric.
    kind : str
        Of `masr_modules.metrics.tables.KINDS`: how it is printed.
    """

    title: str
    key: str
    kind: str


class Guess(NamedTuple):
    """What the first metric would be without listening.

    Arguments
    ---------
    score : float
        Of the guess.
    grace : float
        What is better than `score` by less than this may be luck.
    """

    score: float
    grace: float

    @classmethod
    def of_share(cls, share: float, utterances: int) -> "Guess":
        """A fraction of the utterances, with two standard errors of grace.

        Arguments
        ---------
        share : float
            In [0, 1].
        utterances : int
            That the fraction is counted over.

        Returns
        -------
        Guess
            The fraction, and 2 √(share (1 - share) / utterances).

        Example
        -------
        >>> Guess.of_share(0.5, 100)
        Guess(score=0.5, grace=0.1)
        """
        return cls(share, 2 * (share * (1 - share) / utterances) ** 0.5)


@dataclass(frozen=True)
class Use:
    """How a model card says that the result is used with SpeechBrain.

    Arguments
    ---------
    module : str
        Of `speechbrain.inference`.
    interface : str
        The class there.
    method : str
        Of the class.
    arguments : str
        Of the method, as Python.
    note : callable, optional
        Metrics of the test set -> a paragraph that follows.

    Example
    -------
    >>> print(Use("ASR", "EncoderASR", "transcribe_file").code())
    from speechbrain.inference.ASR import EncoderASR
    <BLANKLINE>
    model = EncoderASR.from_hparams(source="THIS_FOLDER", savedir="THIS_FOLDER")
    print(model.transcribe_file("speech.wav"))
    """

    module: str
    interface: str
    method: str
    arguments: str = '"speech.wav"'
    note: Callable[[Mapping[str, float]], str] | None = None

    def code(self) -> str:
        """The lines that load the folder and hear a file."""
        return (
            f"from speechbrain.inference.{self.module} import {self.interface}\n\n"
            f'model = {self.interface}.from_hparams(source="THIS_FOLDER", savedir="THIS_FOLDER")\n'
            f"print(model.{self.method}({self.arguments}))"
        )


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Arguments
    ---------
    name : str
        Of the recipe's folder.
    title : str
        Of the model card.
    brain : type
        A subclass of DownstreamBrain.
    columns : tuple of Column
        The table; the first is the metric that counts.
    higher_is_better : bool
        Of the first metric.
    chance : callable
        results.json of a run -> Guess, of the first metric.
    use : Use
        For the model card.
    mini_yaml : str
        In hparams/, the task on the synthetic corpus; without it, encoders are not compared on it.
    prefix : str
        Of the first column in the joint table, where tasks lie side by side.
    place : int
        In the joint table: tasks come from the lowest on.

    Raises
    ------
    ValueError
        If there are no columns.

    Example
    -------
    >>> toy = Task(
    ...     name="toy",
    ...     title="Coin recognition",
    ...     brain=DownstreamBrain,
    ...     columns=(Column("accuracy", "accuracy", "share"),),
    ...     higher_is_better=True,
    ...     chance=lambda results: Guess.of_share(0.5, results["utterances"]),
    ...     use=Use("classifiers", "EncoderClassifier", "classify_file"),
    ... )
    >>> toy.at_chance([0.59], toy.chance({"utterances": 100}))
    True
    """

    name: str
    title: str
    brain: type[DownstreamBrain]
    columns: tuple[Column, ...]
    higher_is_better: bool
    chance: Callable[[Mapping], Guess]
    use: Use
    mini_yaml: str = ""
    prefix: str = ""
    place: int = 100

    def __post_init__(self):
        if not self.columns:
            raise ValueError(f"task {self.name}: give it a column, the metric that counts")

    @property
    def first(self) -> Column:
        """The metric that counts."""
        return self.columns[0]

    def at_chance(self, scores: Sequence[float], guess: Guess) -> bool:
        """Whether the mean of some runs is no better than a guess that does not listen.

        Arguments
        ---------
        scores : sequence of float
            The first metric of every seed.
        guess : Guess
            What `chance` says of one of them.
        """
        mean = sum(scores) / len(scores)
        score, grace = guess
        return mean < score + grace if self.higher_is_better else mean > score - grace


def find_tasks(recipes: str | Path) -> dict[str, Task]:
    """Name -> task of every recipe that is compared, in the order of the joint table.

    Arguments
    ---------
    recipes : str or Path
        A folder of recipes, NAME/train.py.

    Raises
    ------
    ValueError
        If a task is not called like the folder of its recipe.
    """
    tasks = []
    for path in sorted(Path(recipes).glob("*/train.py")):
        task = runpy.run_path(str(path), run_name="recipe").get("TASK")
        if task is None or not task.mini_yaml:
            continue
        if task.name != path.parent.name:
            raise ValueError(f"{path}: its task is called {task.name!r}, unlike its folder")
        tasks.append(task)
    return {task.name: task for task in sorted(tasks, key=lambda task: task.place)}
