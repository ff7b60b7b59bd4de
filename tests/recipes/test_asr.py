"""Speech recognition from CSV to the shared folder, on a handful of utterances."""

import csv
import json
import re
from collections import defaultdict

import jiwer
import pytest
from conftest import ROOT, edited_csv, load_recipe
from speechbrain.inference.ASR import EncoderASR
from trees import fleurs_tree

from masr_modules.metrics.transcripts import normalise_text

pytestmark = pytest.mark.slow

#: What makes a run small. A step this small leaves the head as it was drawn, which writes
#: something at almost every frame: there is text to compare.
SMALL = {
    "skip_prep": True,
    "number_of_epochs": 1,
    "lr": 1e-6,
    "encoder_lr": 1e-6,
    "head_only_steps": 1,
    "num_workers": 0,
    "max_batch_seconds": 12.0,
    "head": "!name:masr_modules.downstream.heads.CTCHead {rnn_layers: 1, rnn_size: 8}",
}


@pytest.fixture(scope="session")
def asr():
    """recipes/asr/train.py as a module."""
    return load_recipe("asr/train")


@pytest.fixture(scope="session")
def few(mini_corpus, tmp_path_factory):
    """CSVs of a few utterances of each split; the first of the test set has no text."""
    folder = tmp_path_factory.mktemp("few")
    for split, count in (("train", 12), ("valid", 4), ("test", 7)):

        def edit(rows, split=split, count=count):
            rows = rows[:: max(1, len(rows) // count)][:count]
            if split == "test":
                rows[0]["text"] = " … "
            return rows

        edited_csv(mini_corpus, folder, edit, split).rename(folder / f"{split}.csv")
    return folder


@pytest.fixture(scope="session")
def command(pretrained_folder, few, mini_corpus, tmp_path_factory):
    """The command line of a small run."""
    frames = tmp_path_factory.mktemp("frames")

    def build(yaml="mini_asr.yaml", csvs=True, **overrides):
        settings = SMALL | {"pretrained": pretrained_folder, "cache_folder": frames}
        if csvs:
            settings |= {f"{s}_csv": few / f"{s}.csv" for s in ("train", "valid", "test")}
            settings["data_folder"] = mini_corpus
        settings |= overrides
        flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        return [str(ROOT / "hparams" / yaml), *flags, "--noprogressbar"]

    return build


@pytest.fixture(scope="session")
def frozen(asr, command, tmp_path_factory):
    """The folder of a run with a frozen encoder."""
    folder = tmp_path_factory.mktemp("frozen")
    asr.main(command(output_folder=folder))
    return folder


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_metrics_are_those_that_jiwer_finds_in_the_predictions(frozen):
    metrics = results(frozen)["metrics"]
    rows = read(frozen / "predictions.csv")
    assert list(rows[0]) == ["ID", "language", "duration", "reference", "hypothesis"]
    assert any(row["hypothesis"] for row in rows)
    groups = defaultdict(list)
    for row in rows:
        groups[row["language"]].append(row)
    for key, rate in (("cer", jiwer.cer), ("wer", jiwer.wer)):
        texts = ([row[column] for row in rows] for column in ("reference", "hypothesis"))
        assert metrics[key] == pytest.approx(rate(*texts))
        each = []
        for language, some in groups.items():
            texts = ([row[column] for row in some] for column in ("reference", "hypothesis"))
            each.append(rate(*texts))
            assert metrics[f"{key}, {language}"] == pytest.approx(each[-1])
        assert metrics[f"macro_{key}"] == pytest.approx(sum(each) / len(each))
    table = (frozen / "languages.md").read_text()
    assert all(f"| {language} " in table for language in [*groups, "all"])


def test_an_utterance_without_text_is_left_out_and_counted(frozen, few):
    missing, *rest = (row["ID"] for row in read(few / "test.csv"))
    assert sorted(rest) == [row["ID"] for row in read(frozen / "predictions.csv")]
    assert results(frozen)["metrics"]["without_text"] == 1
    assert "test: 1 utterances without text are left out" in (frozen / "log.txt").read_text()


def test_fleurs_is_scored_on_its_official_transcription(asr, command, tmp_path):
    folder = fleurs_tree(tmp_path / "fleurs")
    official = {}
    for table in folder.glob("data/*/*.tsv"):
        lines = table.read_text().replace('\tphrase "', "\tdit-on, ").splitlines()
        table.write_text("\n".join(lines) + "\n")
        if table.stem == "test":
            cells = (line.split("\t") for line in lines)
            official |= {f"fleurs_{table.parent.name}_{c[1][:-4]}": c[3] for c in cells}
    settings = {"data_folder": folder, "skip_prep": False, "model_type": "char"}
    settings |= {"vocab_size": "null", "output_folder": tmp_path / "out", "patience": 1}
    asr.main(command("fleurs_asr.yaml", csvs=False, **settings))
    rows = read(tmp_path / "out/predictions.csv")
    assert {row["ID"]: row["reference"] for row in rows} == official
    assert all("dit-on, " in text for text in official.values())
    metrics = results(tmp_path / "out")["metrics"]
    pair = ([row[side] for row in rows] for side in ("reference", "hypothesis"))
    assert metrics["cer"] == pytest.approx(jiwer.cer(*pair))
    plain = ([normalise_text(row[side]) for row in rows] for side in ("reference", "hypothesis"))
    assert metrics["cer, normalised"] == pytest.approx(jiwer.cer(*plain))
    assert metrics["cer"] != metrics["cer, normalised"]
    table = (tmp_path / "out/results.md").read_text()
    assert "| mean CER of languages, normalised (%) |" in table


def test_a_normalised_corpus_is_scored_once(frozen):
    assert not [key for key in results(frozen)["metrics"] if "normalised" in key]
    assert "normalised" not in (frozen / "results.md").read_text()


def test_a_single_file_gives_what_the_batch_gave(frozen, few, mini_corpus, tmp_path):
    model = EncoderASR.from_hparams(source=str(frozen / "inference"), savedir=str(tmp_path))
    wav_of = {row["ID"]: row["wav"] for row in read(few / "test.csv")}
    for row in read(frozen / "predictions.csv"):
        wav = wav_of[row["ID"]].replace("$data_root", str(mini_corpus))
        assert model.transcribe_file(wav, savedir=str(tmp_path)) == row["hypothesis"]
    assert "EncoderASR" in (frozen / "inference/README.md").read_text()


def test_a_test_alone_trains_nothing_and_may_search_with_a_beam(asr, command, frozen, tmp_path):
    first = read(frozen / "predictions.csv")
    log = (frozen / "train_log.txt").read_text()
    beam = [*command(output_folder=frozen, beam_size=4), "--test_only"]
    asr.main(beam)
    assert [row["reference"] for row in read(frozen / "predictions.csv")] == [
        row["reference"] for row in first
    ]
    asr.main([*command(output_folder=frozen), "--test_only"])
    assert read(frozen / "predictions.csv") == first
    added = (frozen / "train_log.txt").read_text().removeprefix(log)
    assert added.count("test loss") == 2 and "train loss" not in added


def test_fine_tuning_resumes_where_it_was(asr, command, tmp_path):
    settings = {"freeze": False, "output_folder": tmp_path / "out", "number_of_epochs": 2}
    asr.main(command(**settings))
    asr.main(command(**settings))
    log = (tmp_path / "out/train_log.txt").read_text()
    assert re.findall(r"^epoch: (\d+),", log, re.MULTILINE) == ["1", "2"]
    assert results(tmp_path / "out")["freeze"] is False


def test_utterances_with_more_tokens_than_frames_are_counted(
    asr, command, few, mini_corpus, tmp_path
):
    def edit(rows):
        return [rows[0] | {"text": "a" * 500}, *rows[1:8]]

    path = edited_csv(mini_corpus, tmp_path, edit)
    asr.main(command(train_csv=path, output_folder=tmp_path / "out"))
    log = (tmp_path / "out/log.txt").read_text()
    assert "train: 1 of 8 utterances have more tokens than CTC can write" in log
