"""The pretraining recipe from CSV to table, and interrupted."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from conftest import keys_of, logged, starts_from_source, yamls
from core_only import run_with_core
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from masr_modules.inference import MASREncoder
from masr_modules.pairwise import losses

YAMLS = yamls("masr*.yaml", "pretrain_*.yaml", "whisper_tiny.yaml", "published/*.yaml")

#: Those whose knowledge or folders the tiny corpus lacks; see test_corpora.py.
REAL = ("fleurs", "voxlingua107", "iemocap", "voxceleb", "commonvoice", "several", "debian")
CORPORA = [f"pretrain_{name}.yaml" for name in REAL]


def weights(folder, name="ssl"):
    """The newest checkpoint's weights."""
    newest = max(Path(folder, "save").glob("CKPT*"), key=lambda path: path.name)
    return torch.load(newest / f"{name}.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [
        {"loss": "!new:masr_modules.pairwise.soft_labels.XSampleLoss {temperature: 0.2}"},
        {
            "head": "!name:masr_modules.heads.ClassifierHead "
            "{columns: [language, speaker], input_size: !ref 2 * <d_model>, embedding_size: 8}"
        },
    ],
    ids=lambda block: next(iter(block)),
)
def test_a_block_of_the_command_line_replaces_the_whole_block(block, pretrain, arguments, tmp_path):
    pretrain.main(arguments("masr.yaml", **block))
    assert "train masr:" in (tmp_path / "out/train_log.txt").read_text()
    kept = (tmp_path / "out/hyperparams.yaml").read_text()
    assert next(iter(block.values())).split()[0] in kept


@pytest.mark.parametrize(
    "yaml",
    [
        pytest.param(yaml, marks=[] if yaml == "masr.yaml" else pytest.mark.slow)
        for yaml in YAMLS
        if yaml not in CORPORA
    ],
)
def test_runs_from_csv_to_table(yaml, pretrain, kmeans, arguments, tmp_path, capsys):
    if "hubert" in yaml:
        kmeans.main(arguments(yaml))
    pretrain.main(arguments(yaml))
    results = json.loads((tmp_path / "out/results.json").read_text())
    start = "start" if starts_from_source(yaml) else "untrained"
    beside = {start, "log-mel statistics", "MFCC statistics", "chance"}
    system, embedding = [name for name in results if name not in beside]
    assert embedding == f"{system}, utterance embedding" and len(results) == len(beside) + 2
    for metrics in results.values():
        assert 0 <= metrics["knn"] <= 1 and 0 <= metrics["speaker_eer"] <= 1
    printed = capsys.readouterr().out
    assert "Test set, " in printed and "speaker EER (%)" in printed
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train ssl:" in log and "train masr:" in log and "valid knn:" in log
    assert list((tmp_path / "out/tensorboard").glob("events*"))
    exported = MASREncoder.from_hparams(tmp_path / "out/encoder")
    assert exported.embed_batch(torch.randn(1, 16000)).shape == (1, exported.encoder.d_model)
    assert "MASREncoder" in (tmp_path / "out/encoder/README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["xlsr_300m", "w2v_bert2", "whisper_tiny"])
@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_a_continued_model_is_continued_again_from_its_export(
    model, trainable, pretrain, arguments, hf_folder, tmp_path
):
    yaml = "whisper_tiny.yaml" if model == "whisper_tiny" else f"published/{model}.yaml"
    source = shutil.copytree(hf_folder[model], tmp_path / "source")
    pretrain.main(arguments(yaml, source=source, trainable=trainable))
    shutil.rmtree(source)
    moved = (tmp_path / "out/encoder").rename(tmp_path / "moved")
    files = [path for path in moved.rglob("*") if path.suffix in (".json", ".md")]
    assert len(files) >= 4 and not [f for f in files if str(tmp_path) in f.read_text()]
    transformers.AutoModel.from_pretrained(moved)
    second = tmp_path / "second"
    pretrain.main(arguments(yaml, source=moved, trainable=trainable, output_folder=second))
    assert (second / "encoder/config.json").is_file()
    start, found = (load_file(f / "model.safetensors") for f in (moved, second / "encoder"))
    assert start.keys() == found.keys()
    assert any(not torch.equal(start[key], found[key]) for key in start)


@pytest.mark.slow
def test_the_core_alone_trains(arguments, tmp_path):
    train = "import runpy; runpy.run_path('recipes/pretrain/train.py', run_name='__main__')"
    done = run_with_core(train, *arguments("masr.yaml"))
    assert done.returncode == 0, done.stderr
    assert "| MASR" in done.stdout
    log = (tmp_path / "out/log.txt").read_text()
    said = 'TensorBoard is left out: tensorboard is not installed: pip install "masr[report]"'
    assert log.count(said) == 1
    assert not (tmp_path / "out/tensorboard").exists()


def logged_images(folder):
    """Tag -> (step, PNG) of each image in TensorBoard's files."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return {
        tag: [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


@pytest.mark.slow
def test_tensorboard_holds_embeddings_and_the_knowledge_of_a_batch(pretrained_folder, mini_corpus):
    projector = (pretrained_folder / "tensorboard/projector_config.pbtxt").read_text()
    (step,) = set(re.findall(r'"(\d{5})/valid/tensors.tsv"', projector))
    assert int(step) == 4
    folder = pretrained_folder / "tensorboard" / step / "valid"
    header, *cells = (folder / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "language\tfamily\tspeaker\tgender\temotion"
    with open(mini_corpus / "csv/valid.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert cells == ["\t".join(row[column] for column in header.split("\t")) for row in rows]
    embeddings = (folder / "tensors.tsv").read_text().splitlines()
    assert len(embeddings) == len(rows) and len(embeddings[0].split("\t")) == 2 * 16
    assert len(set(embeddings)) > 1
    ((tag, ((step, picture),)),) = logged_images(pretrained_folder).items()
    assert tag == "knowledge/batch" and step == 4 and picture.startswith(b"\x89PNG")


@pytest.mark.slow
def test_tensorboard_shows_no_more_than_it_can_and_no_knowledge_without_a_head(
    pretrain, arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr("masr_modules.reporting.pretrain_report.MAX_PROJECTED", 3)
    pretrain.main(arguments(masr_weight=0))
    (cells,) = (tmp_path / "out/tensorboard").glob("*/valid/metadata.tsv")
    assert len(cells.read_text(encoding="utf-8").splitlines()) == 1 + 3
    assert not logged_images(tmp_path / "out")


class Killed(Exception):
    """Stands for a kill between two steps."""


def kill_before_step(monkeypatch, pretrain, step):
    forward = pretrain.PretrainBrain.compute_forward

    def dying(self, batch, stage):
        if stage.name == "TRAIN" and self.optimizer_step == step:
            raise Killed
        return forward(self, batch, stage)

    monkeypatch.setattr(pretrain.PretrainBrain, "compute_forward", dying)


@pytest.mark.slow
@pytest.mark.parametrize(
    "yaml, step",
    [
        ("masr.yaml", 2),
        ("masr.yaml", 5),
        ("pretrain_wav2vec2.yaml", 5),  # its state has a temperature
        ("pretrain_data2vec.yaml", 5),  # and a teacher
        ("whisper_tiny.yaml", 5),  # and its start
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(
    yaml, step, pretrain, arguments, tmp_path, monkeypatch
):
    settings = {"number_of_steps": 8, "ckpt_interval_steps": 1}
    own = {"dropout": 0.1, "layer_lr_decay": 0.5}
    settings |= {key: value for key, value in own.items() if key in keys_of(yaml)}
    pretrain.main(arguments(yaml, output_folder=tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        kill_before_step(patch, pretrain, step)
        with pytest.raises(Killed):
            pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    torch.rand(7)  # another process would have its generators elsewhere
    pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    for name in ("ssl", "head"):
        expected, resumed = weights(tmp_path / "whole", name), weights(tmp_path / "killed", name)
        assert expected.keys() == resumed.keys()
        for key, value in expected.items():
            assert torch.equal(value, resumed[key]), key


@pytest.mark.slow
def test_a_folder_is_that_of_one_run(pretrain, arguments, tmp_path):
    pretrain.main(arguments(number_of_steps=2))
    table = (tmp_path / "out/results.md").read_text()
    with pytest.raises(ValueError, match="begun with margin: 0.[0-9]*, this run has margin: 0.77"):
        pretrain.main(arguments(number_of_steps=2, margin=0.77))
    assert (tmp_path / "out/results.md").read_text() == table
    assert "0.77" not in (tmp_path / "out/hyperparams.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("every, lr", [(1, 0.0), (4, 0.0)])
def test_accumulation_changes_no_number_of_updates(every, lr, pretrain, arguments, tmp_path):
    pretrain.main(arguments(grad_accumulation_factor=every, max_batch_seconds=6.0))
    lines = (tmp_path / "out/train_log.txt").read_text().splitlines()
    assert f"step: 4, lr: {lr:.2e}" in lines[-1]
    assert len(lines) > (every > 1)


@pytest.mark.slow
def test_ssl_only_trains_no_head(pretrain, arguments, tmp_path):
    pretrain.main(arguments(masr_weight=0))
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train ssl:" in log and "masr" not in log
    assert not list((tmp_path / "out/save").glob("CKPT*/head.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides, said, not_said",
    [
        ({}, "'language'", "'emotion'"),
        ({"knowledge_weight": 0.0}, "- none", "'language'"),
        ({"masr_weight": 0}, "none (SSL only)", "'language'"),
    ],
)
def test_the_card_says_what_was_used_and_no_more(
    overrides, said, not_said, pretrain, arguments, tmp_path
):
    pretrain.main(arguments(number_of_steps=2, **overrides))
    card = (tmp_path / "out/encoder/README.md").read_text()
    used = card.split("## Metadata used")[1].split("## Results")[0]
    assert said in used and not_said not in used


@pytest.mark.slow
@pytest.mark.parametrize("limit, warned", [(0.0, False), (2.0, True)])
def test_embeddings_that_collapse_are_a_warning(
    limit, warned, pretrain, arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr(losses, "COLLAPSED", limit)
    pretrain.main(arguments("masr.yaml", number_of_steps=2))
    log = (tmp_path / "out/log.txt").read_text()
    assert ("collapsed in the space of language, speaker, gender, emotion" in log) == warned


def test_all_arms_see_the_same_batches(pretrain, arguments, tmp_path, monkeypatch):
    seen = []
    forward = pretrain.PretrainBrain.compute_forward

    def spy(self, batch, stage):
        if stage.name == "TRAIN":
            seen[-1].append(list(batch.id))
        return forward(self, batch, stage)

    monkeypatch.setattr(pretrain.PretrainBrain, "compute_forward", spy)
    classifier = "[[language], !ref 2 * <d_model>, !ref <embedding_size>]"
    arms = (
        {},
        {"masr_weight": 0},
        {"mining": "hardest"},
        {"head": f"!name:masr_modules.heads.ClassifierHead {classifier}"},
    )
    for i, overrides in enumerate(arms):
        seen.append([])
        pretrain.main(arguments(output_folder=tmp_path / str(i), **overrides))
    assert len(seen[0]) == 4 and all(arm == seen[0] for arm in seen)


@pytest.mark.slow
def test_batches_of_one_utterance_train(pretrain, arguments, tmp_path, monkeypatch):
    sizes, forward = [], pretrain.PretrainBrain.compute_forward

    def spy(brain, batch, stage):
        if stage.name == "TRAIN":
            sizes.append(len(batch.id))
        return forward(brain, batch, stage)

    monkeypatch.setattr(pretrain.PretrainBrain, "compute_forward", spy)
    pretrain.main(arguments(max_batch_seconds=2.0, max_crop_seconds=2.0, number_of_steps=2))
    assert sizes == [1, 1]
    losses = logged(tmp_path / "out")
    assert losses["train ssl"] > 0 and losses["train masr"] > 0


@pytest.mark.slow
def test_what_a_short_or_unlabelled_run_cannot_learn_is_said(pretrain, arguments, tmp_path):
    settings = {"missing_labels": {"emotion": 1}, "masr_warmup_steps": 2, "number_of_steps": 2}
    pretrain.main(arguments(**settings))
    said = (tmp_path / "out/log.txt").read_text()
    assert "identities: the column 'emotion' is empty in the training set" in said
    assert "masr_warmup_steps (2) is not below number_of_steps (2): masr_weight never" in said
    assert "collapsed in the space of emotion" not in said


@pytest.mark.slow
def test_branches_tell_of_languages_that_are_hidden(pretrain, arguments, tmp_path):
    pretrain.main(arguments(missing_labels={"language": 0.5, "region": 1}, family_depth=3))
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train anchors_language: 1.00e+00" in log


@pytest.mark.slow
def test_the_progress_bar_shows_both_losses(pretrain, arguments, capsys):
    pretrain.main(arguments()[:-1])  # the last argument is --noprogressbar
    shown = capsys.readouterr().err
    assert re.search(r"train_loss=\d+\.\d{3} \(ssl \d+\.\d{3}, masr \d+\.\d{3}\)", shown)
