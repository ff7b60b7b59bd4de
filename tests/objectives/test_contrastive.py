"""Distractors, the quantiser's temperature, and the teacher: numbers by hand."""

import pytest
import torch
from small_models import small_encoder
from speechbrain.nnet.losses import ContrastiveLoss
from speechbrain.nnet.quantisers import GumbelVectorQuantizer

from masr_modules.objectives.contrastive import (
    AnnealedGumbelQuantizer,
    MaskedContrastiveLoss,
    row_keys,
    sample_distractors,
)
from masr_modules.objectives.data2vec import Data2Vec
from masr_modules.objectives.masking import FrameMask
from masr_modules.objectives.w2v_bert import W2vBert


def test_distractors_are_the_other_masked_frames_of_the_same_utterance_equally_often():
    mask = FrameMask.of(torch.tensor([[True, True, True, False], [False, False, True, True]]))
    drawn = sample_distractors(mask, 3000)
    assert drawn[:, 0].unique().tolist() == [1, 2] and drawn[:, 1].unique().tolist() == [0, 2]
    assert drawn[:, 3].unique().tolist() == [4] and drawn[:, 4].unique().tolist() == [3]
    assert abs((drawn[:, 0] == 1).float().mean() - 0.5) < 0.05


def test_an_utterance_without_masked_frames_has_no_distractors():
    mask = FrameMask.of(torch.tensor([[False, False], [True, True]]))
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


@pytest.mark.parametrize("training", (True, False))
def test_the_quantizer_gives_what_speechbrains_gives(training):
    torch.manual_seed(0)
    ours = AnnealedGumbelQuantizer(6, 5, (2.0, 0.5, 0.9), 2, 8).train(training)
    stock = GumbelVectorQuantizer(6, 5, (2.0, 0.5, 0.9), 2, 8).train(training)
    stock.load_state_dict({k: v for k, v in ours.state_dict().items() if k != "curr_temp"})
    x, results = torch.randn(1, 40, 6), []
    for quantizer in (ours, stock):
        torch.manual_seed(1)
        results.append(quantizer(x))
    for name in ("x", "code_perplexity", "prob_perplex", "num_vars"):
        torch.testing.assert_close(
            torch.as_tensor(results[0][name]), torch.as_tensor(results[1][name])
        )


def test_the_loss_equals_speechbrains():
    torch.manual_seed(0)
    predicted = torch.randn(9, 4)
    targets = torch.randn(3, 4)[torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])]  # many are equal
    mask = FrameMask.of(torch.ones(1, 9, dtype=torch.bool))
    drawn = sample_distractors(mask, 6)
    loss, accuracy = MaskedContrastiveLoss(6, 0.1).of(predicted, targets, drawn)
    distractors = targets[drawn].unsqueeze(1)
    total, expected = ContrastiveLoss(0.1)(predicted[None], targets[None], distractors)
    torch.testing.assert_close(loss, total / 9)
    torch.testing.assert_close(accuracy, expected)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_rows_have_the_same_key_where_they_are_equal_and_nowhere_else(dtype):
    torch.manual_seed(0)
    rows = torch.randn(500, 32).round().to(dtype)  # of which many cells are equal
    rows = torch.cat([rows, rows.flip(1), rows[torch.randperm(500)]])  # and rows
    keys = row_keys(rows)
    expected = torch.unique(rows, dim=0, return_inverse=True)[1]
    assert torch.equal(keys[:, None] == keys, expected[:, None] == expected)


def test_a_frame_without_distractors_adds_nothing():
    drawn = torch.zeros(2, 1, dtype=torch.long)  # itself
    loss, _ = MaskedContrastiveLoss(2).of(torch.randn(1, 4), torch.randn(1, 4), drawn)
    assert loss.item() == 0.0


def test_both_stacks_need_a_layer():
    with pytest.raises(ValueError, match="contrastive_layers is 2.*choose 1 to 1"):
        W2vBert(small_encoder(), contrastive_layers=2)
    with pytest.raises(ValueError, match="top_layers is 3: choose 1 to num_layers, 2"):
        Data2Vec(small_encoder(), top_layers=3)
