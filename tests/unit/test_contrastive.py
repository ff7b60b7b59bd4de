"""Distractors, the quantiser's temperature, and the teacher: numbers by hand."""

import pytest
import torch
from test_objectives_conformance import small_encoder

from masr_modules.objectives.contrastive import AnnealedGumbelQuantizer, sample_distractors
from masr_modules.objectives.data2vec import Data2Vec
from masr_modules.objectives.w2v_bert import W2vBert


def test_distractors_are_the_other_masked_frames_of_the_same_utterance_equally_often():
    mask = torch.tensor([[True, True, True, False], [False, False, True, True]])
    drawn = sample_distractors(mask, 3000)
    assert drawn[:, 0].unique().tolist() == [1, 2] and drawn[:, 1].unique().tolist() == [0, 2]
    assert drawn[:, 3].unique().tolist() == [4] and drawn[:, 4].unique().tolist() == [3]
    assert abs((drawn[:, 0] == 1).float().mean() - 0.5) < 0.05


def test_an_utterance_without_masked_frames_has_no_distractors():
    mask = torch.tensor([[False, False], [True, True]])
    assert sample_distractors(mask, 2).tolist() == [[1, 0], [1, 0]]


def test_the_temperature_decays_to_its_floor():
    quantizer = AnnealedGumbelQuantizer(4, 4, (2.0, 0.5, 0.5), 2, 4)
    temperatures = []
    for steps in range(4):
        quantizer.update_temp(steps)
        temperatures.append(quantizer.curr_temp.item())
    assert temperatures == [2.0, 1.0, 0.5, 0.5]


def test_the_teacher_is_the_moving_average_of_the_student():
    ssl = Data2Vec(small_encoder(), top_layers=1, decay=(0.5, 1.0), decay_steps=4)
    student, teacher = ssl.encoder.front_end.norm.weight, ssl.teacher.front_end.norm.weight
    student.data.fill_(1.0)
    teacher.fill_(0.0)
    ssl.after_step(2)  # decay .5 + (1 - .5) * 2 / 4 = .75: 0 * .75 + 1 * .25
    assert torch.allclose(teacher, torch.tensor(0.25))
    ssl.after_step(9)  # decay 1: the teacher stays
    assert torch.allclose(teacher, torch.tensor(0.25))


def test_both_stacks_need_a_layer():
    with pytest.raises(ValueError, match="contrastive_layers is 2.*choose 1 to 1"):
        W2vBert(small_encoder(), contrastive_layers=2)
    with pytest.raises(ValueError, match="top_layers is 3: choose 1 to num_layers, 2"):
        Data2Vec(small_encoder(), top_layers=3)
