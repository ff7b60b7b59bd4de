"""The four tasks on recordings of people, on a handful of clips where they lie."""

import csv
import json
from collections import defaultdict

import pytest
from conftest import ROOT, command_line, load_recipe
from people import corpus_of_people

from data_prep.acted_emotion_prepare import prepare_acted_emotion
from data_prep.kaldi_prepare import prepare_kaldi
from masr_modules.config.settings import load_settings

pytestmark = pytest.mark.slow

CORPORA = ("nemo", "ravdess", "emotts")
#: YAML -> the corpora whose CSVs it reads.
TASKS = {
    "people_lid.yaml": ["commonvoice"],
    "people_speaker.yaml": ["commonvoice", "speechocean762"],
    "people_emotion.yaml": [*CORPORA],
    "people_asr.yaml": ["speechocean762"],
}


def keep_few(folder, per_label, of):
    """Keeps some utterances of each label in each CSV of a folder."""
    for path in folder.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        taken = defaultdict(list)
        for row in rows:
            if all(row[column] for column in of):
                taken[tuple(row[column] for column in of)].append(row)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(row for some in taken.values() for row in some[:per_label])


@pytest.fixture
def train(pretrained_folder, tmp_path):
    """Runs the recipe of a task for an epoch; what it wrote to results.json."""

    def run(task, yaml, folder, **overrides):
        settings = {
            "data_folder": folder,
            "csv_folder": tmp_path / "csv",
            "skip_prep": True,
            "pretrained": pretrained_folder,
            "cache_folder": tmp_path / "frames",
            "number_of_epochs": 1,
            "output_folder": tmp_path / "out",
        } | overrides
        load_recipe(f"{task}/train").main(command_line(yaml, settings))
        return json.loads((settings["output_folder"] / "results.json").read_text())

    return run


@pytest.mark.parametrize("yaml", TASKS)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_each_task_reads_the_splits_of_its_corpora(yaml, split):
    path = ROOT / "hparams" / yaml
    settings = {"data_folder": "people", "csv_folder": "csv", "pretrained": "encoder"}
    sources = load_settings(path, settings, only=[f"{split}_csv"])[f"{split}_csv"]
    assert [source["csv"] for source in sources] == [f"csv/{c}/{split}.csv" for c in TASKS[yaml]]


def test_emotions_of_actors_that_were_not_heard(train, tmp_path):
    folder = corpus_of_people("nemo").parent
    for name in CORPORA:
        prepare_acted_emotion(str(folder / name), str(tmp_path / "csv" / name), name)
        keep_few(tmp_path / "csv" / name, 1, of=("speaker", "emotion"))
    metrics = train("emotion", "people_emotion.yaml", folder)["metrics"]
    each = [metrics[f"macro_accuracy, {name}"] for name in CORPORA]
    assert metrics["macro_accuracy"] == pytest.approx(sum(each) / 3)
    assert metrics["chance"] == pytest.approx((1 / 6 + 1 / 8 + 1 / 4) / 3)  # of their emotions
    table = (tmp_path / "out/results.md").read_text()
    assert all(f"| {name}" in table for name in CORPORA)
    unheard = tmp_path / "unheard"
    left = train(
        "emotion", "people_emotion.yaml", folder, unheard_corpus="emotts", output_folder=unheard
    )
    assert left["metrics"]["classes"] == 4  # those of the Korean corpus
    with (unheard / "predictions.csv").open() as file:
        assert {row["ID"].partition("_")[0] for row in csv.DictReader(file)} == {"emotts"}


def test_speakers_are_tried_within_their_corpus_and_gender(train, tmp_path):
    folder = corpus_of_people("speechocean762").parent
    target = tmp_path / "csv/speechocean762"
    prepare_kaldi(str(folder / "speechocean762"), str(target), constants={"language": "en"})
    keep_few(target, 3, of=("speaker",))
    source = {"corpus": "speechocean762", "data_root": str(folder / "speechocean762")}
    csvs = {
        f"{split}_csv": json.dumps([source | {"csv": str(target / f"{split}.csv")}])
        for split in ("train", "valid", "test")
    }
    metrics = train("speaker", "people_speaker.yaml", folder, **csvs)["metrics"]
    assert metrics["trials"] > metrics["targets"] == 125 * 3  # the pairs of each speaker's three
    with (target / "test.csv").open() as file:
        gender = {row["ID"]: row["gender"] for row in csv.DictReader(file)}
    with (tmp_path / "out/scores.csv").open() as file:
        assert all(gender[t["enrol"]] == gender[t["test"]] for t in csv.DictReader(file))
