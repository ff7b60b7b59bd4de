"""The record of a downstream task, which holds all that tables, model cards and comparisons need.

A new task is a module or a train.py with a Brain and a `TASK`, and a YAML; tables, model cards
and the comparison of encoders are made from the record.
"""

import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from masr_modules.downstream.brain import DownstreamBrain


class Column(NamedTuple):
    """A column of a table, with one metric.

    Arguments
    ---------
    title : str
        The column's title.
    key : str
        The metric's key.
    kind : str
        A key of `masr_modules.metrics.tables.KINDS`, which says how the metric is printed.
    """

    title: str
    key: str
    kind: str


class Guess(NamedTuple):
    """The first metric of a guess without the audio.

    Arguments
    ---------
    score : float
        The metric of the guess.
    grace : float
        A metric that is better than `score` by less than this may be due to chance.
    """

    score: float
    grace: float

    @classmethod
    def of_share(cls, share: float, utterances: int) -> "Guess":
        """Makes the guess of a fraction of the utterances, with two standard errors of grace.

        Arguments
        ---------
        share : float
            The fraction, in [0, 1].
        utterances : int
            Number of utterances over which the fraction is counted.

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
    """The use of a trained task with SpeechBrain, as its model card shows it.

    Arguments
    ---------
    module : str
        A module of `speechbrain.inference`.
    interface : str
        A class of the module.
    method : str
        A method of the class.
    arguments : str
        The method's arguments, as Python.
    note : callable, optional
        Metrics of the test set -> a paragraph that follows the code.

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
        """Returns the lines of Python that load the folder and apply it to a file."""
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
        Name of the recipe's folder.
    title : str
        Title of the model card.
    brain : type
        A subclass of DownstreamBrain.
    columns : tuple of Column
        The columns of the table, first the main metric.
    higher_is_better : bool
        Whether higher values of the main metric are better.
    chance : callable
        results.json of a run -> Guess of the main metric.
    use : Use
        The use of the result, for the model card.
    mini_yaml : str
        YAML in hparams/ of the task on the synthetic corpus; without it, encoders are not compared
        on the task.
    prefix : str
        Prefix of the main metric's title in the joint table of all tasks.
    place : int
        Place in the joint table, which lists tasks in rising order.

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
            raise ValueError(f"task {self.name}: give it a column, its main metric")

    @property
    def first(self) -> Column:
        """The column of the main metric."""
        return self.columns[0]

    def at_chance(self, scores: Sequence[float], guess: Guess) -> bool:
        """Returns whether the mean of some runs is no better than a guess without the audio.

        Arguments
        ---------
        scores : sequence of float
            The main metric of every seed.
        guess : Guess
            The result of `chance` for one of the runs.
        """
        mean = sum(scores) / len(scores)
        score, grace = guess
        return mean < score + grace if self.higher_is_better else mean > score - grace


def find_tasks(recipes: str | Path) -> dict[str, Task]:
    """Finds name -> task of every recipe that is compared, in the order of the joint table.

    Arguments
    ---------
    recipes : str or Path
        A folder of recipes, NAME/train.py.

    Raises
    ------
    ValueError
        If a task does not have the name of its recipe's folder.
    """
    tasks = []
    for path in sorted(Path(recipes).glob("*/train.py")):
        task = runpy.run_path(str(path), run_name="recipe").get("TASK")
        if task is None or not task.mini_yaml:
            continue
        if task.name != path.parent.name:
            raise ValueError(
                f"{path}: its task is called {task.name!r}, unlike its folder: rename one of them"
            )
        tasks.append(task)
    return {task.name: task for task in sorted(tasks, key=lambda task: task.place)}
