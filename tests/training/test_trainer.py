"""The training loop on a line through the origin: updates, rates, faults."""

import os
import re
import signal
from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.epoch_loop import EpochCounter
from torch.utils._python_dispatch import TorchDispatchMode

from masr_modules.data.dataio import Unreadable
from masr_modules.training import running_loss, trainer
from masr_modules.training.checkpoints import Checkpointer
from masr_modules.training.trainer import Trainer

#: ID -> x; y is 2 x.
POINTS = {f"u{number}": float(number) for number in range(1, 7)}


class Line(Trainer):
    """Fits y = w x; counts what it was asked."""

    def compute_forward(self, batch, stage):
        return self.modules.net(batch.sig.data)

    def compute_objectives(self, predictions, batch, stage):
        loss = (predictions - 2 * batch.sig.data).square().mean()
        return loss * float("nan") if set(batch.id) & self.bad else loss

    def set_rates(self, update):
        self.asked.append(update)
        for group in self.optimizer.param_groups:
            group["lr"] = self.hparams.rate

    def init_optimizers(self):
        groups = [{"params": [p]} for p in self.modules.net.parameters()]
        self.optimizer = torch.optim.SGD(groups, lr=99.0)
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        self.after_batch(batch)


@pytest.fixture
def line(tmp_path):
    """Builds a Line on the points, and fits it."""

    def build(batches, epochs=1, rate=0.001, items=POINTS, fit=True, **options):
        net = torch.nn.Linear(1, 1)
        with torch.no_grad():
            net.weight.fill_(0.5)
            net.bias.fill_(0.0)
        counter = EpochCounter(epochs)
        checkpointer = Checkpointer(tmp_path / "save", {"net": net, "counter": counter})
        hparams = {"rate": rate, "output_folder": str(tmp_path), "max_unreadable": 0.2}
        brain = Line(
            {"net": net},
            opt_class=torch.optim.SGD,
            hparams=hparams | {"epoch_counter": counter},
            run_opts={"device": "cpu", "noprogressbar": True, "max_grad_norm": 1e9} | options,
            checkpointer=checkpointer,
        )
        dataset = DynamicItemDataset({name: {"value": x} for name, x in items.items()})
        dataset.add_dynamic_item(as_item, takes="value", provides="sig")
        dataset.set_output_keys(["id", "sig"])
        brain.bad, brain.asked, brain.after_batch = set(), [], lambda batch: None
        brain.loader = brain.make_train_loader(dataset, batches)
        brain.counter = counter
        if fit:
            brain.fit(counter, brain.loader)
        return brain

    return build


def as_item(value):
    return value if isinstance(value, Unreadable) else torch.tensor([value])


ONE_BY_ONE = [[i] for i in range(6)]


def by_hand(groups, rate=0.001):
    """(w, b) after an update for each group of points, whose gradients are averaged."""
    w, b = 0.5, 0.0
    for group in groups:
        errors = [(w * x + b - 2 * x, x) for x in group]
        w, b = (
            w - rate * sum(2 * e * x for e, x in errors) / len(group),
            b - rate * sum(2 * e for e, _ in errors) / len(group),
        )
    return w, b


def result(brain):
    return brain.modules.net.weight.item(), brain.modules.net.bias.item()


@pytest.mark.parametrize("every, groups", [(1, 1), (4, 4), (6, 6), (9, 6)])
def test_every_batch_of_an_update_weighs_the_same_and_none_is_lost(line, every, groups):
    brain = line(ONE_BY_ONE, grad_accumulation_factor=every)
    points = list(POINTS.values())
    expected = by_hand([points[i : i + groups] for i in range(0, 6, groups)])
    assert result(brain) == pytest.approx(expected)
    assert brain.asked == list(range(1, len(range(0, 6, groups)) + 1))
    assert brain.updates_per_epoch == len(brain.asked) == brain.optimizer_step


def test_updates_end_the_training_whatever_the_accumulation(line):
    brain = line(ONE_BY_ONE, epochs=99, grad_accumulation_factor=4, fit=False)
    brain.optimizer_step_limit = 5
    brain.fit(brain.counter, brain.loader)
    assert brain.asked == [1, 2, 3, 4, 5]


def test_all_groups_are_clipped_together(line):
    brain = line([[5]], rate=1.0, max_grad_norm=0.1)
    moved = torch.tensor(result(brain)) - torch.tensor([0.5, 0.0])
    assert moved.norm() == pytest.approx(0.1, rel=1e-3)


def test_a_loss_that_is_not_finite_skips_its_update_and_is_named(line, tmp_path):
    brain = line(ONE_BY_ONE, fit=False)
    brain.bad = {"u2", "u5"}
    brain.fit(brain.counter, brain.loader)
    assert result(brain) == pytest.approx(by_hand([[1], [3], [4], [6]]))
    assert (tmp_path / "non_finite.txt").read_text() == (
        "update 2, rank 0: u2\nupdate 5, rank 0: u5\n"
    )
    assert brain.optimizer_step == 6


def test_too_many_of_them_end_the_run(line):
    brain = line(ONE_BY_ONE, fit=False, nonfinite_patience=1)
    brain.bad = {"u2", "u5"}
    with pytest.raises(ValueError, match="2 batches of an epoch, more than nonfinite_patience: 1"):
        brain.fit(brain.counter, brain.loader)


def test_epochs_too_short_for_the_patience_end_the_run_too(line):
    brain = line([[0]], epochs=9, fit=False, nonfinite_patience=3)
    brain.bad = {"u1"}
    with pytest.raises(ValueError, match="4 updates in a row, more than nonfinite_patience: 3"):
        brain.fit(brain.counter, brain.loader)


def test_a_finite_update_between_them_starts_the_count_again(line):
    brain = line([[0], [1]], epochs=4, fit=False, nonfinite_patience=1)
    brain.bad = {"u2"}
    brain.fit(brain.counter, brain.loader)
    assert brain.optimizer_step == 8 and brain.nonfinite_run == 1


def test_what_cannot_be_read_is_left_out_once_an_epoch(line, caplog):
    broken = POINTS | {"u2": Unreadable("u2.wav: cannot be decoded")}
    brain = line([[0, 1], [2, 3], [4, 5]], epochs=2, items=broken)
    assert brain.unreadable == {"u2": "u2.wav: cannot be decoded"}
    assert result(brain) == pytest.approx(by_hand([[1], [3, 4], [5, 6]] * 2))


def test_too_much_of_it_ends_the_run(line):
    broken = POINTS | {name: Unreadable(f"{name}.wav: cannot be decoded") for name in ("u2", "u4")}
    with pytest.raises(ValueError, match="2 of 6 training utterances.*max_unreadable: 0.2.*u4.wav"):
        line([[0, 1], [2, 3], [4, 5]], items=broken)


def test_a_batch_without_anything_is_an_error(line):
    with pytest.raises(ValueError, match=r"nothing of a batch of 1.*u2.wav: no"):
        line(ONE_BY_ONE, items=POINTS | {"u2": Unreadable("u2.wav: no")})


@pytest.mark.parametrize("every", [1, 2])
def test_sigterm_saves_and_leaves_with_its_status(line, every):
    whole = result(line(ONE_BY_ONE, epochs=2, grad_accumulation_factor=every))
    brain = line(ONE_BY_ONE, epochs=2, fit=False, grad_accumulation_factor=every)
    before = signal.getsignal(signal.SIGTERM)

    def terminate(batch):
        if batch.id == ["u3"]:
            os.kill(os.getpid(), signal.SIGTERM)

    brain.checkpointer.delete_checkpoints(num_to_keep=0)
    brain.after_batch = terminate
    with pytest.raises(SystemExit) as left:
        brain.fit(brain.counter, brain.loader)
    assert left.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    resumed = line(ONE_BY_ONE, epochs=2, grad_accumulation_factor=every)
    assert result(resumed) == whole
    assert resumed.asked[0] == (4 if every == 1 else 3)


def test_much_waiting_for_audio_is_said_with_what_to_do(line, caplog):
    brain = line(ONE_BY_ONE, fit=False)
    brain.train_loader = FakeLoader(seconds=20.0, waited=2.0)
    text = "epoch 3: training waited for audio 10.0 % of the time: raise num_workers (0)"
    for audio_cache, end in (("folder", "\n"), (None, ", or set audio_cache to a folder")):
        brain.hparams.audio_cache = audio_cache
        brain._report_waiting(3)
        assert text + end in caplog.text


@pytest.mark.parametrize("seconds, waited", [(20.0, 1.0), (9.0, 4.0)])
def test_little_waiting_or_a_short_epoch_gives_no_warning(line, caplog, seconds, waited):
    brain = line(ONE_BY_ONE, fit=False)
    brain.train_loader = FakeLoader(seconds, waited)
    with caplog.at_level("INFO"):
        brain._report_waiting(1)
    (record,) = [r for r in caplog.records if "waited for audio" in r.message]
    assert record.levelname == "INFO"


class FakeLoader:
    """Of an epoch that took so long."""

    num_workers = 0

    def __init__(self, seconds, waited):
        self.waiting = SimpleNamespace(seconds=seconds, share=lambda: waited / seconds)


def test_each_epoch_tells_how_long_it_waited(line, caplog):
    with caplog.at_level("INFO"):
        line(ONE_BY_ONE, epochs=2)
    assert re.findall(r"epoch (\d): training waited", caplog.text) == ["1", "2"]


def test_batches_go_to_the_device(line, monkeypatch):
    moved = []

    def to(batch, device, non_blocking):
        moved.append((*batch.id, device))
        return batch

    monkeypatch.setattr(trainer.PaddedBatch, "to", to)
    brain = line(ONE_BY_ONE)
    brain.evaluate(brain.loader)
    assert moved == 2 * [(name, "cpu") for name in POINTS]


def test_lengths_that_masks_are_drawn_by_stay_on_the_host(line):
    brain = line(ONE_BY_ONE)
    brain.device, brain.lengths_on_host = "meta", ("sig",)
    wavs = {"a": torch.zeros(2), "b": torch.zeros(4)}
    examples = [{"id": name, "sig": wav, "other": wav} for name, wav in wavs.items()]
    batch = brain.to_device(trainer.PaddedBatch(examples))
    assert batch.sig.data.is_meta and batch.other.data.is_meta and batch.other.lengths.is_meta
    assert batch.sig.lengths.tolist() == [0.5, 1.0]


def test_a_full_disk_leaves_the_last_checkpoint(line, monkeypatch):
    brain = line(ONE_BY_ONE)
    brain.checkpointer.save_and_keep_only()
    good = brain.checkpointer.list_checkpoints()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            brain.checkpointer.save_and_keep_only()
    assert [c.path for c in brain.checkpointer.list_checkpoints()] == [good[0].path]
    brain.checkpointer.save_and_keep_only()
    assert len(list(good[0].path.parent.iterdir())) == 1


class NoWaiting(TorchDispatchMode):
    """Raises where the host asks for a value of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and not self.allowed:
            raise AssertionError("the host waits for the device")
        return func(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing_but_whether_its_loss_is_finite(line, monkeypatch):
    mode, read = NoWaiting(), running_loss.Finite.read
    mode.allowed = False

    def allowed(self):
        mode.allowed = True
        try:
            return read(self)
        finally:
            mode.allowed = False

    monkeypatch.setattr(running_loss.Finite, "read", allowed)
    monkeypatch.setattr(running_loss.RunningLoss, "SECONDS", float("inf"))
    brain = line(ONE_BY_ONE, fit=False)
    for name in ("fit_batch", "update_average"):
        setattr(brain, name, under(mode, getattr(brain, name)))
    brain.fit(brain.counter, brain.loader)
    assert brain.optimizer_step == 6


def under(mode, function):
    def run(*arguments):
        with mode:
            return function(*arguments)

    return run


def test_the_mode_sees_a_wait():
    mode = NoWaiting()
    mode.allowed = False
    with mode, pytest.raises(AssertionError, match="the host waits"):
        torch.tensor(1.0).item()
