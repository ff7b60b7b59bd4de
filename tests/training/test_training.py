"""What a non-finite batch leaves, and a clock that goes back."""

import math
import pickle
import time

import pytest
import soundfile
import torch
from torch import nn

from masr_modules.data.audio_check import drop_unreadable
from masr_modules.data.corpus import load_csv
from masr_modules.data.dataio import EpochClock, make_dataset, read_audio
from masr_modules.training.checkpoints import Checkpointer
from masr_modules.training.forward_state import ForwardState
from masr_modules.training.running_loss import RunningLoss


class Everything(nn.Module):
    """All kinds of state that a forward pass may change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("memory", torch.zeros(4, 3))
        self.mean, self.count, self.empty = torch.zeros(3), 0, None

    def forward(self, x):
        self.memory[: len(x)] = x
        self.mean, self.count = self.mean + x.mean(dim=0), self.count + 1
        return self.norm(x)


def test_all_that_forward_changes_is_put_back():
    module, x = Everything(), torch.randn(4, 3)
    module(x)
    before = pickle.dumps({k: v.clone() for k, v in module.state_dict().items()})
    mean, reference = module.mean.clone(), module.memory
    state = ForwardState(module)
    state.keep()
    module(torch.full((4, 3), float("nan")))
    state.restore()
    for key, value in pickle.loads(before).items():
        torch.testing.assert_close(module.state_dict()[key], value, rtol=0, atol=0)
    assert torch.equal(module.mean, mean) and module.count == 1
    assert module.memory is reference  # what others hold is the same tensor
    state.keep()
    module(x)
    assert module.count == 2 and torch.isfinite(module.norm.running_mean).all()


def test_the_mean_of_losses_none_of_which_is_finite_is_no_number():
    loss = RunningLoss()
    assert math.isnan(float(loss))
    for value in (float("nan"), float("inf")):
        loss.add(torch.tensor(value), {"ssl": torch.tensor(value)})
    assert math.isnan(float(loss))
    loss.add(torch.tensor(2.0), {"ssl": torch.tensor(3.0)})
    assert (float(loss), str(loss)) == (2.0, "2.000 (ssl 3.000)")


@pytest.mark.parametrize("sample", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("where", [0, 8000, 15999])
def test_audio_that_is_not_finite_or_no_audio_is_named(sample, where, tmp_path):
    audio = 0.1 * torch.randn(16000)
    audio[where] = sample
    path = str(tmp_path / "a.wav")
    soundfile.write(path, audio.numpy(), 16000, "FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: holds a sample of (nan|inf|1e\+30|1\.0)"):
        read_audio(path, 16000, None, 0)
    lines = ["ID,duration,wav", f"bad,1,{path}"]
    for name in ("b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * torch.randn(16000).numpy(), 16000)
        lines.append(f"{name},1,{tmp_path / name}.wav")
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    rows = load_csv(tmp_path / "test.csv", tmp_path)
    assert set(drop_unreadable(rows, 0.5, decode=True)) == {"b", "c"}
    with pytest.raises(ValueError, match=r"1 of 3 .*first: bad.*more than the limit"):
        drop_unreadable(rows, 0.01, decode=True)


def save(checkpointer, net, number, **meta):
    nn.init.constant_(net.weight, number)
    checkpointer.save_and_keep_only(meta=meta, num_to_keep=1)


@pytest.mark.parametrize("jump", [-(10**6), -3600, 0, 3600])
def test_the_newest_checkpoint_is_of_the_last_update_whatever_the_clock_says(
    jump, tmp_path, monkeypatch
):
    net = nn.Linear(1, 1)
    checkpointer, now = Checkpointer(tmp_path, {"net": net}), time.time()
    save(checkpointer, net, 1)
    monkeypatch.setattr(time, "time", lambda: now + jump)
    save(checkpointer, net, 2)
    save(checkpointer, net, 3)
    (left,) = checkpointer.list_checkpoints()
    state = torch.load(left.path / "net.ckpt", weights_only=True)
    assert state["weight"].item() == 3
    checkpointer.recover_if_possible()
    assert net.weight.item() == 3


def test_a_metric_that_is_no_number_is_never_the_best(tmp_path):
    net = nn.Linear(1, 1)
    checkpointer = Checkpointer(tmp_path, {"net": net})
    for number, accuracy in enumerate((0.5, float("nan"), 0.4)):
        nn.init.constant_(net.weight, number)
        checkpointer.save_and_keep_only(
            meta={"accuracy": accuracy}, max_keys=["accuracy"], num_to_keep=2
        )
    best = checkpointer.find_checkpoint(max_key="accuracy")
    assert best.meta["accuracy"] == 0.5


def test_datasets_can_be_pickled_for_workers_that_are_spawned(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, 0.1 * torch.randn(16000).numpy(), 16000)
    rows = {"a": {"wav": path, "duration": 1.0}}
    for options in ({}, {"max_crop_seconds": 0.5, "clock": EpochClock(), "tolerant": True}):
        dataset = make_dataset(rows, 16000, **options)
        again = pickle.loads(pickle.dumps(dataset))
        assert torch.equal(again[0]["sig"], dataset[0]["sig"])
