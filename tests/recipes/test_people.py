"""Recordings of people: from the folder's layout to the table, on a handful of clips."""

import json

import pytest
import torch
from few_people import few_people
from speechbrain.augment.augmenter import Augmenter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return few_people(tmp_path_factory.mktemp("people"))


@pytest.mark.parametrize("yaml", ["people.yaml", "people_whisper.yaml"])
def test_from_the_corpora_to_the_table(yaml, pretrain, arguments, folder, hf_folder, tmp_path):
    settings = {"csv_folder": tmp_path / "csv", "skip_prep": False, "number_of_steps": 2}
    settings |= {"source": hf_folder["whisper_tiny"], "d_model": 32} if "whisper" in yaml else {}
    pretrain.main(arguments(yaml, data_folder=folder, **settings))
    results = json.loads((tmp_path / "out/results.json").read_text())
    start = "start" if "whisper" in yaml else "untrained"
    floors = ["log-mel statistics", "MFCC statistics", "quiet frames"]
    assert list(results) == ["MASR", "MASR, utterance embedding", start, *floors]
    found = results["MASR"]
    means = [f"{found[f'emotion.{corpus}']}" for corpus in ("nemo", "ravdess", "emotts")]
    assert found["emotion"] == pytest.approx(sum(map(float, means)) / 3)
    assert {"speaker_eer.commonvoice", "speaker_eer.speechocean762", "linear"} <= {*found}
    assert "emotion, unheard corpus" in (tmp_path / "out/results.md").read_text()


def test_another_ssl_method(pretrain, kmeans, arguments, folder, tmp_path):
    settings = {"csv_folder": tmp_path / "csv", "skip_prep": False, "number_of_steps": 2}
    settings |= {"masr_weight": 0, "baselines": False}
    command = arguments("people_hubert.yaml", data_folder=folder, **settings)
    kmeans.main(command)
    pretrain.main(command)
    assert json.loads((tmp_path / "out/results.json").read_text())["MASR with HuBERT"]


def test_training_waveforms_alone_are_augmented(pretrain, arguments, folder, tmp_path, monkeypatch):
    heard, forward = [], Augmenter.forward

    def counted(augmenter, wavs, lens):
        changed, lens = forward(augmenter, wavs, lens)
        heard.append(changed.shape == wavs.shape and torch.equal(changed, wavs))
        return changed, lens

    monkeypatch.setattr(Augmenter, "forward", counted)
    settings = {"csv_folder": tmp_path / "csv", "skip_prep": False, "number_of_steps": 2}
    settings |= {"augmentation": "!ref <augmenter>", "baselines": False}
    pretrain.main(arguments("people.yaml", data_folder=folder, **settings))
    assert len(heard) == 2 and not all(heard)  # some batches of few may be left as they are
