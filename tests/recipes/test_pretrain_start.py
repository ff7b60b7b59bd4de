"""Pretraining that continues a model of transformers, beside what it was at the start."""

import re

import pytest
import torch
import transformers
from conftest import logged

from masr_modules.encoders.adapters import ADAPTER_WEIGHTS
from masr_modules.encoders.huggingface import HuggingFaceEncoder

pytestmark = pytest.mark.slow

#: Of the log, where the encoder does worse than its start.
WORSE = "tells language apart less well than its start: kNN"
#: The layers of the small Whisper, and what is before them; top first.
LAYERS = [f"ssl.encoder.model.encoder.{name}." for name in ("layers.1", "layers.0", "conv1")]


def loaded(folder):
    """A Whisper as transformers loads it."""
    model = transformers.WhisperForConditionalGeneration
    return model.from_pretrained(folder, trust_remote_code=False, weights_only=True)


def encoder_weights(folder):
    return loaded(folder).get_encoder().state_dict()


def test_a_continued_whisper_is_a_folder_of_transformers(pretrain, arguments, hf_folder, tmp_path):
    pretrain.main(arguments("whisper_tiny.yaml"))
    found = logged(tmp_path / "out")
    assert found["train start_guess"] > 0 and found["train masr"] > 0
    assert "train ssl_accuracy" not in found  # of the codes, which have no weight
    source, folder = hf_folder["whisper_tiny"], tmp_path / "out/encoder"
    before, after = encoder_weights(source), encoder_weights(folder)
    assert before.keys() == after.keys()
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    ours = HuggingFaceEncoder(str(folder)).model.encoder.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in after.items())


def test_the_log_has_the_start_beside_the_encoder(pretrain, arguments, tmp_path):
    pretrain.main(arguments("whisper_tiny.yaml", lr=0.0))
    found = logged(tmp_path / "out")
    assert found["valid knn"] == found["valid knn_of_start"] > 0
    assert WORSE not in (tmp_path / "out/log.txt").read_text()


def test_an_encoder_below_its_start_is_a_warning(pretrain, arguments, tmp_path, monkeypatch):
    def knn(brain, valid, encode=None):
        return 0.5 if encode is None else 0.75

    monkeypatch.setattr(pretrain.PretrainBrain, "best_knn", knn)
    pretrain.main(arguments("whisper_tiny.yaml", number_of_steps=2))
    found = logged(tmp_path / "out")
    log = (tmp_path / "out/log.txt").read_text()
    assert (found["valid knn"], found["valid knn_of_start"]) == (0.5, 0.75)
    assert WORSE in log and "lower lr, masr_weight or own_weight" in log


def test_layers_learn_at_rates_by_depth_at_each_update(pretrain, arguments, tmp_path, monkeypatch):
    seen, set_rates = [], pretrain.PretrainBrain.set_rates

    def spy(brain, update):
        set_rates(brain, update)
        rate_of = {
            p: group["lr"] for group in brain.optimizer.param_groups for p in group["params"]
        }
        names = ("head", "ssl.encoder.model.encoder.layer_norm", *LAYERS)
        found = {
            name: {rate_of[p] for n, p in brain.modules.named_parameters() if n.startswith(name)}
            for name in names
        }
        seen.append([rate for name in names for rate in found[name]])

    monkeypatch.setattr(pretrain.PretrainBrain, "set_rates", spy)
    settings = {"lr": 0.8, "lr_warmup_steps": 2, "layer_lr_decay": 0.5, "number_of_steps": 4}
    pretrain.main(arguments("whisper_tiny.yaml", **settings))
    # Half of lr, all of it, half and none; top first.
    factors = [1.0, 1.0, 1.0, 0.5, 0.25]
    assert seen == [pytest.approx([lr * f for f in factors], rel=1e-3) for lr in (0.4, 0.8, 0.4, 0)]


def test_the_rate_of_the_log_is_the_highest(pretrain, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "speechbrain.nnet.schedulers.WarmCoolDecayLRSchedule.__call__", constant_rate
    )
    pretrain.main(arguments("whisper_tiny.yaml", layer_lr_decay=0.5, number_of_steps=2))
    assert logged(tmp_path / "out")["lr"] == 0.125


def constant_rate(schedule, optimizer, update):
    for group in optimizer.param_groups:
        group["lr"] = 0.125


@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_merged_or_kept_apart(merge, pretrain, arguments, hf_folder, tmp_path):
    settings = {"trainable": "lora", "merge_adapters": merge, "lr": 0.05}
    pretrain.main(arguments("whisper_tiny.yaml", **settings))
    folder = tmp_path / "out/encoder"
    before, after = encoder_weights(hf_folder["whisper_tiny"]), encoder_weights(folder)
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    maps = {f"layers.{i}.self_attn.{m}_proj.weight" for i in (0, 1) for m in ("q", "k", "v", "out")}
    assert changed == (maps if merge else set())
    assert (folder / "adapter" / ADAPTER_WEIGHTS).is_file() != merge
    ours = HuggingFaceEncoder(str(folder)).model.encoder.state_dict()
    assert {key for key, value in before.items() if not torch.equal(value, ours[key])} == maps


def test_a_head_that_is_not_trained_is_exported_as_it_came(
    pretrain, arguments, hf_folder, tmp_path
):
    weights = {"own_weight": 0.0, "start_weight": 1.0}
    pretrain.main(arguments("published/xlsr_300m.yaml", **weights, lr=0.05))
    before, after = (
        transformers.Wav2Vec2ForPreTraining.from_pretrained(
            folder, trust_remote_code=False, weights_only=True
        ).state_dict()
        for folder in (hf_folder["xlsr_300m"], tmp_path / "out/encoder")
    )
    same = {key for key, value in before.items() if torch.equal(value, after[key])}
    head = {key for key in before if not key.startswith("wav2vec2.")}
    assert head and head <= same and len(same) < len(before)


def test_knn_is_of_the_best_layer_and_the_start_is_asked_once(
    pretrain, arguments, tmp_path, monkeypatch
):
    # Of three layers: the encoder after an epoch, its start, the encoder after another.
    scores = iter([0.2, 0.9, 0.4, 0.3, 0.1, 0.6, 0.5, 0.2, 0.2])
    monkeypatch.setattr(pretrain, "knn_accuracy", lambda references, valid: next(scores))
    pretrain.main(arguments("whisper_tiny.yaml", number_of_steps=8, baselines=False))
    lines = (tmp_path / "out/train_log.txt").read_text().splitlines()
    said = [[float(x) for x in re.findall(r"valid knn\w*: ([-+.\de]+)", line)] for line in lines]
    assert said == [[0.9, 0.6], [0.5, 0.6]]
    log = (tmp_path / "out/log.txt").read_text()
    assert log.count(WORSE) == 1 and "50.0 % on validation, 60.0 % before" in log
    assert not list(scores)
