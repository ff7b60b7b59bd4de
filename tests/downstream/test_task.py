"""The four tasks: what a guess that does not listen scores, and what tables and cards say."""

from dataclasses import FrozenInstanceError, replace

import pytest

from masr_modules.downstream import asr, emotion, language_id, speaker
from masr_modules.metrics.tables import KINDS

TASKS = (language_id.TASK, asr.TASK, emotion.TASK, speaker.TASK)


@pytest.mark.parametrize(
    "task, score, grace",
    [
        (language_id.TASK, 0.2, 0.08),  # one of 5 classes; 2 √(.2 · .8 / 100)
        (emotion.TASK, 0.2, 0.08),
        (speaker.TASK, 0.5, 0.1),  # 2 √(.5 · .5 / 100)
        (asr.TASK, 1.0, 0.02),  # who writes nothing leaves out every character
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_guess_that_does_not_listen(task, score, grace):
    guess = task.chance({"utterances": 100, "metrics": {"classes": 5}})
    assert guess == pytest.approx((score, grace))


@pytest.mark.parametrize(
    "task, metric, at_chance",
    [
        (language_id.TASK, 0.10, True),
        (language_id.TASK, 0.27, True),
        (language_id.TASK, 0.29, False),
        (emotion.TASK, 0.27, True),
        (emotion.TASK, 0.29, False),
        (speaker.TASK, 0.60, True),
        (speaker.TASK, 0.41, True),
        (speaker.TASK, 0.39, False),
        (asr.TASK, 1.50, True),
        (asr.TASK, 0.99, True),
        (asr.TASK, 0.97, False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_runs_no_better_than_a_guess(task, metric, at_chance):
    guess = task.chance({"utterances": 100, "metrics": {"classes": 5}})
    assert task.at_chance([metric], guess) is at_chance
    assert task.at_chance([metric - 0.3, metric + 0.3], guess) is at_chance  # their mean counts


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_metric_can_be_printed(task):
    assert all(column.kind in KINDS for column in task.columns)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_card_names_an_interface_of_speechbrain(task):
    module = pytest.importorskip(f"speechbrain.inference.{task.use.module}")
    assert hasattr(getattr(module, task.use.interface), task.use.method)


def test_a_task_is_what_it_was_made():
    with pytest.raises(FrozenInstanceError):
        asr.TASK.title = "another"
    with pytest.raises(ValueError, match="task asr: give it a column"):
        replace(asr.TASK, columns=())
