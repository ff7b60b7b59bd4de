"""The downstream recipes, driven by a table: corpus to results, interrupted, with bad input."""

import csv
import json
import math
import re
import shutil
from collections import defaultdict

import pytest
import soundfile
import torch
from conftest import edited_csv, keys_of, load_recipe, yamls
from hf_models import save_small
from sklearn.metrics import balanced_accuracy_score
from speechbrain.inference.classifiers import EncoderClassifier
from test_corpora import OPTIONS, TREES
from test_pretrain import YAMLS as PRETRAIN_YAMLS
from test_pretrain import Killed, weights

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers

pytestmark = pytest.mark.slow

#: YAML -> the recipe it is for, and the tree of its corpus (none: the embedded one).
RECIPES = {
    "mini_lid.yaml": ("language_id", None),
    "fleurs_lid.yaml": ("language_id", "fleurs"),
    "voxlingua107_lid.yaml": ("language_id", "voxlingua107"),
    "mini_asr.yaml": ("asr", None),
    "fleurs_asr.yaml": ("asr", "fleurs"),
    "debian_asr.yaml": ("asr", "debian"),
    "mini_emotion.yaml": ("emotion", None),
    "iemocap_emotion.yaml": ("emotion", "iemocap"),
    "mini_speaker.yaml": ("speaker", None),
    "voxceleb_speaker.yaml": ("speaker", "voxceleb"),
    "voxceleb_identification.yaml": ("speaker", "voxceleb"),
    "debian_speaker.yaml": ("speaker", "debian"),
}
#: What a YAML needs on so little data: pieces of words take more texts, one utterance per voice
#: makes no trials, a clip no segments.
NEEDS = {
    "fleurs_asr.yaml": {"model_type": "char", "vocab_size": "null"},
    "mini_speaker.yaml": {"valid_metric": "identification_error"},
    "voxceleb_speaker.yaml": {"segment_seconds": 0.1},
}


@pytest.fixture(scope="session")
def recipes():
    """Name of a recipe -> its train.py as a module."""
    return {name: load_recipe(f"{name}/train") for name, _ in RECIPES.values()}


@pytest.fixture
def train(recipes, arguments, tmp_path):
    """Runs the recipe of a YAML with overrides; what it wrote to results.json."""

    def run(yaml, *flags, **overrides):
        folder = overrides.get("output_folder", tmp_path / "out")
        settings = NEEDS.get(yaml, {}) | overrides
        recipes[RECIPES[yaml][0]].main([*arguments(yaml, **settings), *flags])
        return json.loads((folder / "results.json").read_text())

    return run


def read_predictions(folder):
    """Rows of predictions.csv."""
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def log(tmp_path):
    return (tmp_path / "out/log.txt").read_text()


def test_every_yaml_is_in_a_table():
    people = yamls("people*.yaml")  # test_people.py, test_people_tasks.py: with their recordings
    bases = yamls("data/*.yaml", "ssl/*.yaml")
    assert set(yamls("**/*.yaml")) == {*PRETRAIN_YAMLS, *RECIPES, *people, *bases}


@pytest.mark.parametrize("yaml", RECIPES)
def test_fine_tuned_from_the_corpus_to_the_table(yaml, train, tmp_path, capsys):
    """Frozen: the commands of docs/corpora, test_corpora.py."""
    tree = RECIPES[yaml][1]
    corpus = {} if tree is None else {"data_folder": TREES[tree](tmp_path / tree)}
    options = {key: value for key, value in OPTIONS.get(tree, {}).items() if key in keys_of(yaml)}
    corpus |= {"skip_prep": tree is None} | options
    results = train(yaml, number_of_epochs=1, freeze=False, **corpus)
    assert results["freeze"] is False and results["utterances"] > 0
    assert sum(results["layer_shares"]) == pytest.approx(1, abs=1e-3)
    assert "Test set, " in capsys.readouterr().out
    assert (tmp_path / "out/inference/README.md").is_file()


@pytest.mark.parametrize("yaml", [yaml for yaml, (_, tree) in RECIPES.items() if tree is None])
def test_a_killed_run_resumes_to_the_same_weights(yaml, recipes, train, tmp_path, monkeypatch):
    module = recipes[RECIPES[yaml][0]]
    brain = module.TASK.brain
    options = {"freeze": False, "hidden_augmentation": "!ref <hidden_masks>"}
    whole = train(yaml, **options, output_folder=tmp_path / "whole")
    forward = brain.compute_forward

    def dying(self, batch, stage):
        if stage.name == "TRAIN" and self.hparams.epoch_counter.current == 2:
            raise Killed
        return forward(self, batch, stage)

    with monkeypatch.context() as patch:
        patch.setattr(brain, "compute_forward", dying)
        with pytest.raises(Killed):
            train(yaml, **options, output_folder=tmp_path / "killed")
    resumed = train(yaml, **options, output_folder=tmp_path / "killed")
    assert resumed["metrics"] == whole["metrics"]
    for name in ("encoder", "mixer", "head"):
        expected = weights(tmp_path / "whole", name)
        found = weights(tmp_path / "killed", name)
        assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_a_head_with_options_takes_the_place_of_a_bare_name(train, tmp_path):
    train("mini_lid.yaml", head="!name:masr_modules.downstream.heads.ECAPAHead {channels: 16}")
    saved = torch.load(next(tmp_path.glob("out/save/CKPT*/head.ckpt")), weights_only=True)
    assert 16 in {len(weights) for weights in saved.values() if weights.ndim}
    assert "channels: 16" in (tmp_path / "out/inference/hyperparams.yaml").read_text()


def test_only_the_head_learns_at_first_then_the_encoder_too(train, tmp_path, pretrained_folder):
    def moved(steps):
        folder = tmp_path / str(steps)
        train("mini_lid.yaml", freeze=False, head_only_steps=steps, output_folder=folder)
        before = weights(pretrained_folder, "ssl")
        after = weights(folder, "encoder")
        return any(not torch.equal(v, before[f"encoder.{k}"]) for k, v in after.items())

    assert not moved(1000) and moved(1)
    assert "head_only_steps is 1000, but the run has" in (tmp_path / "1000/log.txt").read_text()
    assert "head_only_steps is" not in (tmp_path / "1/log.txt").read_text()


@pytest.mark.parametrize("yaml", [yaml for yaml, (_, tree) in RECIPES.items() if tree is None])
def test_fine_tuning_with_all_options(yaml, train, tmp_path, pretrained_folder):
    options = {"layer_lr_decay": 0.5, "hidden_augmentation": "!ref <hidden_masks>"}
    train(yaml, freeze=False, **options)
    before, after = weights(pretrained_folder, "ssl"), weights(tmp_path / "out", "encoder")
    moved = {
        key for key, value in after.items() if not torch.equal(value, before[f"encoder.{key}"])
    }
    assert not any(key.startswith("front_end.") for key in moved)
    assert all(any(f"layers.{layer}." in key for key in moved) for layer in (0, 1))


def test_a_frozen_encoder_runs_once_for_all_tasks(train, tmp_path, monkeypatch):
    train("mini_lid.yaml")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "frames").iterdir()}
    train("mini_emotion.yaml", output_folder=tmp_path / "emotion")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "frames").iterdir()}
    assert len(files) == 6  # values and index of three splits


def test_cached_frames_train_like_those_computed_anew(train, tmp_path):
    whole = {"max_crop_seconds": "null"}  # cached frames are of whole utterances
    cached = train("mini_lid.yaml", **whole)
    anew = train("mini_lid.yaml", **whole, max_cache_gb=0, output_folder=tmp_path / "anew")
    assert "the encoder runs in every epoch" in (tmp_path / "anew/log.txt").read_text()
    # Rounding differs with the batch's padding, and Adam's first steps are hardly more than signs.
    assert anew["metrics"] == pytest.approx(cached["metrics"], abs=5e-3, nan_ok=True)


def test_test_only_gives_the_same_metrics(train):
    first = train("mini_lid.yaml")
    again = train("mini_lid.yaml", "--test_only")
    assert again == first


def test_rates_fall_to_the_end_whatever_the_accumulation(train, tmp_path):
    train("mini_emotion.yaml", "--grad_accumulation_factor", "3", max_batch_seconds=6.0, lr=0.3)
    rates = re.findall(r"lr: ([^ ]+)", (tmp_path / "out/train_log.txt").read_text())
    assert 0 < float(rates[-1]) < 0.1 and float(rates[0]) > float(rates[-1])


def test_early_stopping(train, tmp_path):
    train("mini_emotion.yaml", number_of_epochs=30, patience=1, lr=0.0)
    epochs = (tmp_path / "out/train_log.txt").read_text().count("epoch:")
    assert epochs < 10


def cavg_by_hand(rows, labels):
    """LRE09's closed-set average cost: every language as target against each other one."""
    posterior = [
        {label: math.exp(float(row[f"score_{label}"])) for label in labels} for row in rows
    ]
    accepts = [  # likelihood of the language above the mean likelihood of the others
        {a: p[a] > sum(p[b] for b in labels if b != a) / (len(labels) - 1) for a in labels}
        for p in posterior
    ]
    cost = 0.0
    for target in labels:
        own = [a[target] for a, row in zip(accepts, rows, strict=True) if row["truth"] == target]
        cost += 0.5 * own.count(False) / len(own)
        for other in labels:
            if other != target:
                of = [a[target] for a, r in zip(accepts, rows, strict=True) if r["truth"] == other]
                cost += 0.5 / (len(labels) - 1) * of.count(True) / len(of)
    return cost / len(labels)


def test_language_metrics_follow_from_the_predictions_file(train, mini_corpus, tmp_path):
    def branch(rows):
        branches = {"por": "Romance", "spa": "Romance", "nld": "Germanic"}
        return [row | {"family": branches[row["language"]]} for row in rows]

    path = edited_csv(mini_corpus, tmp_path, branch, "test")
    metrics = train("mini_lid.yaml", test_csv=path, number_of_epochs=8)["metrics"]
    rows = read_predictions(tmp_path / "out")
    labels = [name.removeprefix("score_") for name in rows[0] if name.startswith("score_")]
    assert labels == ["nld", "por", "spa"]
    recall = defaultdict(list)
    for row in rows:
        ranked = sorted(labels, key=lambda label: -float(row[f"score_{label}"]))
        recall[row["truth"]].append(ranked[0] == row["truth"])
    right = [hit for group in recall.values() for hit in group]
    assert metrics["accuracy"] == pytest.approx(sum(right) / len(right))
    macro = sum(sum(group) / len(group) for group in recall.values()) / 3
    assert metrics["macro_accuracy"] == pytest.approx(macro)
    assert metrics["cavg"] == pytest.approx(cavg_by_hand(rows, labels), abs=1e-6)
    romance = {"por", "spa"}
    crossed = [(r["truth"] in romance) != (r["predicted"] in romance) for r in rows]
    assert metrics["family_error"] == pytest.approx(sum(crossed) / len(rows))


def test_emotion_metrics_follow_from_the_predictions_file(train, tmp_path):
    metrics = train("mini_emotion.yaml", number_of_epochs=8)["metrics"]
    rows = read_predictions(tmp_path / "out")
    truth, predicted = ([row[name] for row in rows] for name in ("truth", "predicted"))
    right = sum(a == b for a, b in zip(truth, predicted, strict=True))
    assert metrics["accuracy"] == pytest.approx(right / len(rows))
    assert metrics["macro_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))


def assert_files_are_named_as_in_the_batch(folder, tmp_path, mini_corpus):
    loaded = EncoderClassifier.from_hparams(source=str(folder), savedir=str(folder))
    with open(mini_corpus / "csv/test.csv", encoding="utf-8", newline="") as file:
        paths = {
            r["ID"]: r["wav"].replace("$data_root", str(mini_corpus)) for r in csv.DictReader(file)
        }
    for row in read_predictions(tmp_path / "out")[::7]:
        wav, _ = soundfile.read(paths[row["ID"]], dtype="float32")
        scores, _, _, (name,) = loaded.classify_batch(torch.from_numpy(wav)[None])
        assert name == row["predicted"]
        batch = [float(v) for k, v in row.items() if k.startswith("score_")]
        assert scores[0].tolist() == pytest.approx(batch, abs=1e-4)


def test_the_result_folder_names_a_file_as_the_padded_batch_did(train, tmp_path, mini_corpus):
    train("mini_lid.yaml", freeze=False)
    assert_files_are_named_as_in_the_batch(tmp_path / "out/inference", tmp_path, mini_corpus)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_the_result_folder_of_a_transformers_model_needs_no_source(
    name, train, tmp_path, mini_corpus
):
    source = save_small(name, tmp_path / "source")
    train("mini_lid.yaml", pretrained=source, freeze=False)
    shutil.rmtree(source)
    (tmp_path / "out/inference").rename(tmp_path / "moved")
    text = (tmp_path / "moved/hyperparams.yaml").read_text()
    assert "model_type" in text and str(tmp_path) not in text
    assert_files_are_named_as_in_the_batch(tmp_path / "moved", tmp_path, mini_corpus)


@pytest.mark.parametrize("yaml", [yaml for yaml, (_, tree) in RECIPES.items() if tree is None])
@pytest.mark.parametrize("name", ["xls_r", "whisper"])
def test_each_task_takes_the_folder_of_a_continued_model(name, yaml, train, tmp_path):
    source = save_small(name, tmp_path / "source")
    save_transformers(HuggingFaceEncoder(source), tmp_path / "saved")
    shutil.rmtree(source)
    (tmp_path / "saved").rename(tmp_path / "moved")
    results = train(yaml, pretrained=tmp_path / "moved", number_of_epochs=1)
    assert results["utterances"] > 0
    assert str(tmp_path) not in (tmp_path / "out/inference/hyperparams.yaml").read_text()


def test_a_test_language_that_training_lacks_is_counted(train, mini_corpus, tmp_path):
    def without_dutch(rows):
        return [row for row in rows if row["language"] != "nld"]

    path = edited_csv(mini_corpus, tmp_path, without_dutch)
    metrics = train("mini_lid.yaml", train_csv=path)["metrics"]
    dutch = [row for row in read_predictions(tmp_path / "out") if row["truth"] == "nld"]
    assert metrics["classes"] == 2 and metrics["not_a_class"] == len(dutch) > 0
    assert all(row["predicted"] in ("por", "spa") for row in dutch)
    assert f"test: {len(dutch)} utterances have language 'nld'" in log(tmp_path)


def test_a_training_set_of_one_class_is_an_error(train, mini_corpus, tmp_path):
    path = edited_csv(
        mini_corpus, tmp_path, lambda rows: [r for r in rows if r["language"] == "nld"]
    )
    with pytest.raises(ValueError, match="train: only one language: .*nld.*; two are needed"):
        train("mini_lid.yaml", train_csv=path)


def test_utterances_too_short_for_a_frame_are_counted(train, mini_corpus, tmp_path):
    short = tmp_path / "short.wav"
    soundfile.write(short, [0.1] * 400, 16000)

    def shorten(rows):
        return [rows[0] | {"wav": str(short), "duration": "0.025"}, *rows[1:]]

    train("mini_lid.yaml", train_csv=edited_csv(mini_corpus, tmp_path, shorten))
    assert "train: 1 utterances under 0.1 s are left out" in log(tmp_path)
    path = edited_csv(mini_corpus, tmp_path, lambda rows: shorten(rows)[:1])
    with pytest.raises(ValueError, match="train: no utterance of at least 0.1 s is left"):
        train("mini_lid.yaml", train_csv=path, output_folder=tmp_path / "none")


def test_rows_without_a_label_are_counted(train, mini_corpus, tmp_path):
    def forget(rows):
        return [row | {"emotion": ""} if i < 2 else row for i, row in enumerate(rows)]

    train("mini_emotion.yaml", train_csv=edited_csv(mini_corpus, tmp_path, forget))
    assert "train: 2 utterances without emotion are left out" in log(tmp_path)
    path = edited_csv(mini_corpus, tmp_path, lambda rows: [r | {"emotion": ""} for r in rows])
    with pytest.raises(ValueError, match="train: no utterance has a 'emotion'"):
        train("mini_emotion.yaml", train_csv=path, output_folder=tmp_path / "none")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"freeze": False}, "freeze: true, this run has freeze: false"),
        ({"random_init": True}, "random_init: false, this run has random_init: true"),
        ({"lr": 0.5}, "lr: 0.003, this run has lr: 0.5"),
    ],
)
def test_the_folder_of_other_settings_is_refused(change, said, train):
    train("mini_lid.yaml", number_of_epochs=1)
    with pytest.raises(ValueError, match=f"{said}.*give another --output_folder"):
        train("mini_lid.yaml", number_of_epochs=1, **change)


def test_the_folder_of_another_encoder_is_refused(train, pretrained_folder, tmp_path):
    other = shutil.copytree(pretrained_folder, tmp_path / "other")
    train("mini_lid.yaml", number_of_epochs=1)
    train("mini_lid.yaml", number_of_epochs=1, pretrained=other)  # the same weights
    weights = next(other.glob("encoder/*.ckpt"))
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(ValueError, match="other contents of pretrained"):
        train("mini_lid.yaml", number_of_epochs=1, pretrained=other)


def test_an_encoder_of_another_sample_rate_is_refused(train):
    with pytest.raises(ValueError, match="its sample rate is 16000 Hz, but sample_rate is 8000"):
        train("mini_lid.yaml", sample_rate=8000)


@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "fine-tuned"])
@pytest.mark.parametrize("model", ["xlsr_300m", "w2v_bert2"])
def test_a_transformers_encoder_from_a_folder(model, freeze, train, hf_folder):
    results = train("mini_lid.yaml", pretrained=hf_folder[model], freeze=freeze)
    assert results["encoder"] == hf_folder[model]
