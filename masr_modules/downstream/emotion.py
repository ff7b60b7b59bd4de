"""Emotion recognition: a classification whose main metric gives every emotion the same weight."""

from masr_modules.downstream.classification import ClassificationBrain, guess_a_class
from masr_modules.downstream.task import Column, Task, Use

TASK = Task(
    name="emotion",
    title="Emotion recognition",
    brain=ClassificationBrain,
    columns=(
        Column("unweighted accuracy", "macro_accuracy", "share"),
        Column("weighted accuracy", "accuracy", "share"),
    ),
    higher_is_better=True,
    chance=guess_a_class,
    use=Use("classifiers", "EncoderClassifier", "classify_file"),
    mini_yaml="mini_emotion.yaml",
    prefix="emotion",
    place=3,
)
