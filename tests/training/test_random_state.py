"""Generators come back as they were."""

import random

import numpy as np
import torch

from masr_modules.training.random_state import RandomState


def draw():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def test_every_generator_is_restored(tmp_path):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    draw()
    RandomState().save(tmp_path / "state")
    expected = draw()
    draw()
    RandomState().load(tmp_path / "state", end_of_epoch=False)
    assert draw() == expected
