"""The speaker recipe: metrics recomputed from its scores, its result folder, trials it refuses."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import command_line, load_recipe, small_settings
from sklearn.metrics import roc_curve
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.speaker import SpeakerRecognition
from trees_voxceleb import SPEAKERS_1, voxceleb1_tree, voxceleb2_tree

from data_prep.common.trials import trials_path, write_trials

pytestmark = pytest.mark.slow

YAML = "mini_speaker.yaml"


@pytest.fixture(scope="module")
def corpus(mini_corpus, tmp_path_factory):
    """The tiny corpus with invented speakers, for trials: five, two and three voices."""
    folder = tmp_path_factory.mktemp("voices")
    for split, voices in (("train", 5), ("valid", 2), ("test", 3)):
        rows = rows_of(mini_corpus / f"csv/{split}.csv")
        for place, row in enumerate(rows):
            row["speaker"] = f"{split}{place // 2 % voices}"
        write_rows(folder / f"{split}.csv", rows)
    return folder


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def train(corpus, mini_corpus, pretrained_folder, tmp_path_factory):
    """Runs the recipe in a folder; what it wrote to results.json."""
    recipe, frames = load_recipe("speaker/train"), tmp_path_factory.mktemp("frames")

    def run(folder, *flags, yaml=YAML, **overrides):
        settings = small_settings(yaml, mini_corpus, folder)
        settings |= {"pretrained": str(pretrained_folder), "cache_folder": str(frames)}
        if yaml == YAML:
            settings |= {"csv_folder": str(corpus), "train_csv": str(corpus / "train.csv")}
        recipe.main([*command_line(yaml, settings | overrides), *flags])
        return json.loads((folder / "results.json").read_text())

    return run


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    """A frozen run of two epochs, and what it wrote."""
    folder = tmp_path_factory.mktemp("run")
    results = train(folder)
    return SimpleNamespace(folder=folder, metrics=results["metrics"], results=results)


def eer_by_roc(scores, targets):
    """Where false acceptances meet misses on scikit-learn's curve."""
    accepted, detected, _ = roc_curve(targets, scores, drop_intermediate=False)
    missed = 1 - detected
    for here in range(1, len(accepted)):
        if missed[here] <= accepted[here]:
            before = missed[here - 1] - accepted[here - 1]
            step = before / (before - (missed[here] - accepted[here]))
            return accepted[here - 1] + step * (accepted[here] - accepted[here - 1])


def min_dcf_by_loop(scores, targets, prior):
    """The least cost of any threshold, one after the other."""
    positive = [s for s, target in zip(scores, targets, strict=True) if target]
    negative = [s for s, target in zip(scores, targets, strict=True) if not target]
    costs = []
    for threshold in [*scores, float("inf")]:
        missed = sum(score < threshold for score in positive) / len(positive)
        accepted = sum(score >= threshold for score in negative) / len(negative)
        costs.append(prior * missed + (1 - prior) * accepted)
    return min(costs) / min(prior, 1 - prior)


@pytest.mark.parametrize("part", ["", "_same_language", "_cross_language"])
@pytest.mark.parametrize("column, suffix", [("score", ""), ("score_snorm", "_snorm")])
def test_metrics_follow_from_the_scores_file(trained, corpus, part, column, suffix):
    language = {row["ID"]: row["language"] for row in rows_of(corpus / "test.csv")}
    speaker = {row["ID"]: row["speaker"] for row in rows_of(corpus / "test.csv")}
    trials = rows_of(trained.folder / "scores.csv")
    assert len(trials) == len(speaker) * (len(speaker) - 1) / 2  # all pairs
    assert all((speaker[t["enrol"]] == speaker[t["test"]]) == (t["target"] == "1") for t in trials)
    if part:
        same = part == "_same_language"
        trials = [t for t in trials if (language[t["enrol"]] == language[t["test"]]) == same]
    scores = np.array([float(t[column]) for t in trials])
    targets = np.array([t["target"] == "1" for t in trials])
    assert targets.any() and not targets.all()
    metrics = trained.metrics
    assert metrics[f"eer{suffix}{part}"] == pytest.approx(eer_by_roc(scores, targets), abs=1e-6)
    for key, prior in (("min_dcf_01", 0.01), ("min_dcf_05", 0.05)):
        expected = min_dcf_by_loop(scores, targets, prior)
        assert metrics[f"{key}{suffix}{part}"] == pytest.approx(expected, abs=1e-6)


def test_the_table_has_the_columns_of_all_recipes(trained, corpus):
    keys = {"eer", "min_dcf_01", "min_dcf_05", "eer_snorm", "eer_cross_language", "identification"}
    assert keys <= trained.metrics.keys()
    assert "| EER (%)" in (trained.folder / "results.md").read_text()
    assert "cross language" in (trained.folder / "verification.md").read_text()
    assert trained.results["utterances"] == len(rows_of(corpus / "test.csv"))


def test_the_result_folder_scores_two_files_as_the_padded_batch_did(trained, corpus, mini_corpus):
    folder = trained.folder / "inference"
    loaded = SpeakerRecognition.from_hparams(source=str(folder), savedir=str(folder))
    path = {
        row["ID"]: row["wav"].replace("$data_root", str(mini_corpus))
        for row in rows_of(corpus / "test.csv")
    }
    for trial in rows_of(trained.folder / "scores.csv")[::9]:
        score, _ = loaded.verify_files(path[trial["enrol"]], path[trial["test"]])
        assert score.item() == pytest.approx(float(trial["score"]), abs=1e-4)
    assert f"{trained.metrics['threshold']:.3f}" in (folder / "README.md").read_text()
    assert soundfile.info(path[trial["test"]]).samplerate == 16000


def test_a_second_run_resumes_and_a_test_alone_changes_nothing(trained, train):
    assert train(trained.folder) == trained.results
    assert train(trained.folder, "--test_only") == trained.results


def test_held_out_sentences_are_not_trained_on(trained, corpus):
    log = (trained.folder / "log.txt").read_text()
    utterances = len(rows_of(corpus / "train.csv"))
    assert f"train: {trained.metrics['identified_of']} of {utterances} utterances, of 5 of 5" in log


def test_x_vectors_and_lists_of_trials(train, corpus, tmp_path):
    ids = [row["ID"] for row in rows_of(corpus / "test.csv")]
    write_trials(tmp_path / "mine.csv", [(ids[0], ids[1], 1), (ids[0], ids[2], 0)])
    write_trials(tmp_path / "two.csv", [(ids[2], ids[3], 1), (ids[0], ids[3], 0)])
    metrics = train(
        tmp_path / "out",
        number_of_epochs=1,
        head="!name:masr_modules.downstream.heads.XVectorHead",
        trials=[str(tmp_path / "mine.csv"), str(tmp_path / "two.csv")],
        cohort_utterances=1,
    )["metrics"]
    assert metrics["trials"] == 2 and metrics["eer"] == metrics["eer, mine"]
    assert "eer, two" in metrics
    lists = [trial["list"] for trial in rows_of(tmp_path / "out/scores.csv")]
    assert lists == ["mine", "mine", "two", "two"]


def test_trials_of_utterances_that_are_not_there(train, corpus, tmp_path):
    first = rows_of(corpus / "test.csv")[0]["ID"]
    write_trials(tmp_path / "mine.csv", [(first, "nobody", 0)])
    with pytest.raises(ValueError, match="trials mine: 1 of 2 .* not in the test set .*'nobody'"):
        train(tmp_path / "out", trials=[str(tmp_path / "mine.csv")])


def test_trials_of_one_kind(train, corpus, tmp_path):
    ids = [row["ID"] for row in rows_of(corpus / "test.csv")]
    write_trials(tmp_path / "mine.csv", [(ids[0], ids[2], 0)])
    with pytest.raises(ValueError, match="trials mine: 0 of 1 trials are of one speaker"):
        train(tmp_path / "out", trials=[str(tmp_path / "mine.csv")])


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_test_voice_that_was_heard(train, corpus, tmp_path, split):
    rows = rows_of(corpus / f"{split}.csv")
    write_rows(tmp_path / "heard.csv", [*rows[:-1], rows[-1] | {"speaker": "test1"}])
    tested = [row["speaker"] for row in rows_of(corpus / "test.csv")]
    said = f"test: {tested.count('test1')} of {len(tested)} utterances .* unseen speakers"
    with pytest.raises(ValueError, match=said):
        train(tmp_path / "out", **{f"{split}_csv": str(tmp_path / "heard.csv")})


def test_a_validation_set_without_trials(train, corpus, tmp_path):
    write_rows(tmp_path / "one.csv", rows_of(corpus / "valid.csv")[:1])
    with pytest.raises(ValueError, match="drawn from valid, for valid_metric: eer: 0 of 0"):
        train(tmp_path / "out", valid_csv=str(tmp_path / "one.csv"))


def test_nothing_held_out(train, corpus, tmp_path):
    rows = [row | {"text": "the same"} for row in rows_of(corpus / "train.csv")]
    write_rows(tmp_path / "same.csv", rows)
    settings = {"train_csv": str(tmp_path / "same.csv"), "valid_metric": "identification_error"}
    with pytest.raises(ValueError, match="no utterance of a training speaker is held out"):
        train(tmp_path / "out", **settings)


def test_voxceleb_e_and_h_train_on_voxceleb2_alone(train, tmp_path):
    tree = voxceleb1_tree(voxceleb2_tree(tmp_path / "voxceleb"))
    settings = {
        "data_folder": str(tree),
        "skip_prep": False,
        "trials": "[E, H]",
        "valid_share": 0.3,
        "held_out_share": 0.5,
        "segment_seconds": 0.1,
        "number_of_epochs": 1,
        "valid_metric": "identification_error",
    }
    out = tmp_path / "out"
    results = train(out, yaml="voxceleb_speaker.yaml", **settings)
    metrics = results["metrics"]
    heard = {row["speaker"] for row in rows_of(tree / "csv/train.csv")}
    assert results["trained_on"] == f"{len(heard)} speakers of voxceleb2"
    for file in ("results.md", "verification.md", "inference/README.md"):  # beside the EERs
        assert results["trained_on"] in (out / file).read_text(), file
    assert {"eer, E", "eer, H"} <= metrics.keys() and "eer_cross_language" not in metrics
    rows = rows_of(tree / "csv/train.csv")
    assert rows and all(row["speaker"].startswith("voxceleb2_") for row in rows)
    assert all(float(row["stop"]) > float(row["start"]) for row in rows)  # crops
    trials = rows_of(trials_path(str(tree / "csv"), "H"))
    scored = rows_of(out / "scores.csv")
    assert len([trial for trial in scored if trial["list"] == "H"]) == len(trials)
    settings |= {"train_on": "[voxceleb1]"}
    with pytest.raises(ValueError, match="voxceleb1"):
        train(tmp_path / "refused", yaml="voxceleb_speaker.yaml", **settings)


@pytest.fixture(scope="module")
def identified(train, tmp_path_factory):
    """A run on the official split of a tiny VoxCeleb1, and what it wrote."""
    folder = tmp_path_factory.mktemp("identified")
    tree = voxceleb1_tree(folder / "voxceleb", seconds=0.3)
    settings = {"data_folder": str(tree), "skip_prep": False, "number_of_epochs": 1}
    results = train(folder / "out", yaml="voxceleb_identification.yaml", **settings)
    return SimpleNamespace(folder=folder / "out", results=results, tree=tree, settings=settings)


def test_identification_alone_is_reported(identified):
    metrics, folder = identified.results["metrics"], identified.folder
    tested = rows_of(identified.tree / "csv_identification/test.csv")
    assert metrics["identified_of"] == identified.results["utterances"] == len(tested) == 12
    assert metrics["classes"] == len(SPEAKERS_1)
    assert not [key for key in metrics if "eer" in key or "dcf" in key]
    table = (folder / "results.md").read_text()
    assert "| trained on" in table and "identification accuracy (%)" in table
    assert "EER" not in table and f"| {len(SPEAKERS_1)} speakers of voxceleb1" in table
    assert not (folder / "scores.csv").exists()
    assert "identification_error" in (folder / "train_log.txt").read_text()


def test_the_result_folder_names_the_voices_that_were_counted(identified):
    folder = identified.folder / "inference"
    assert "EncoderClassifier" in (folder / "README.md").read_text()
    loaded = EncoderClassifier.from_hparams(source=str(folder), savedir=str(folder))
    rows = rows_of(identified.tree / "csv_identification/test.csv")
    named = [
        loaded.classify_file(row["wav"].replace("$data_root", str(identified.tree)))[3]
        for row in rows
    ]
    right = [name == [row["speaker"]] for name, row in zip(named, rows, strict=True)]
    assert sum(right) / len(rows) == pytest.approx(identified.results["metrics"]["identification"])


def test_a_voice_without_training_counts_as_an_error(identified, train, tmp_path):
    csv_folder = identified.tree / "csv_identification"
    rows = rows_of(csv_folder / "test.csv")
    strangers = [row | {"ID": f"x{row['ID']}", "speaker": "nobody"} for row in rows]
    write_rows(tmp_path / "test.csv", [*rows, *strangers])
    settings = identified.settings | {"skip_prep": True, "test_csv": str(tmp_path / "test.csv")}
    for split in ("train", "valid"):
        settings[f"{split}_csv"] = str(csv_folder / f"{split}.csv")
    found = train(tmp_path / "out", yaml="voxceleb_identification.yaml", **settings)["metrics"]
    right = identified.results["metrics"]["identification"] * len(rows)
    assert found["identified_of"] == 2 * len(rows)
    assert found["identification"] == pytest.approx(right / (2 * len(rows)))


def test_identification_of_voices_that_were_not_trained(train, tmp_path):
    with pytest.raises(ValueError, match="valid_metric: eer, but trials: "):
        train(tmp_path / "out", trials="[]")
    with pytest.raises(ValueError, match="valid: no utterance is of a training speaker"):
        train(tmp_path / "out", trials="[]", valid_metric="identification_error")


def test_an_encoder_learns_angles_too(train, tmp_path):
    results = train(tmp_path / "out", freeze=False, number_of_epochs=1)
    assert results["freeze"] is False
    state = torch.load(tmp_path / "out/inference/classifier.ckpt", weights_only=True)
    assert state["weight"].shape[0] == 5  # one direction per training voice
