"""Frozen probes before and after, by corpus: with a small random Whisper, on tones for speech."""

import csv
import json

import numpy as np
import pytest
import soundfile
from conftest import load_recipe
from hf_models import save_whisper

recipe = load_recipe("analysis/probe")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two sources, one with languages and one with emotions; a folder with three CSVs."""
    folder = tmp_path_factory.mktemp("corpus")
    for split in ("train", "valid", "test"):
        rows = []
        for i in range(16):
            name = f"{split}{i}.wav"
            seconds = np.arange(8000) / 16000
            tone = 0.1 * np.sin(2 * np.pi * (200 + 300 * (i % 2) + i) * seconds)
            soundfile.write(folder / name, tone, 16000)
            row = {"ID": f"{split}{i}", "duration": 0.5, "wav": f"$data_root/{name}"}
            row |= {"speaker": f"s{i % 4}", "gender": ("female", "male")[i % 2]}
            row |= {"source": "read", "language": ("fra", "deu")[i % 2], "family": "Indo-European"}
            if i >= 8:
                row |= {"source": "acted", "language": "", "emotion": ("anger", "fear")[i % 2]}
            rows.append({"emotion": "", **row})
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return folder


def arguments(corpus, output, *encoders):
    """The command line."""
    splits = (x for s in ("train", "valid", "test") for x in (f"--{s}", str(corpus / f"{s}.csv")))
    folder = ["--data_root", str(corpus), "--output", str(output)]
    return ["--encoders", *encoders, *folder, *splits]


def test_a_table_of_each_corpus_with_what_is_above_the_start(corpus, tmp_path, capsys):
    for name in ("start", "other/1", "other/2"):
        save_whisper(tmp_path / name)
    encoders = [f"start={tmp_path}/start", f"other={tmp_path}/other/{{seed}}"]
    given = [*arguments(corpus, tmp_path / "found.json", *encoders), "--seeds", "1", "2"]
    recipe.main(given)
    table = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    header, _, *body = rows if set(rows[1][0]) == {"-"} else [rows[0], [], *rows[1:]]
    assert [row[:3] for row in body] == [
        ["read", "start", "1"],
        ["read", "other", "2"],
        ["acted", "start", "1"],
        ["acted", "other", "2"],
    ]
    cells = dict(zip(header, body[1], strict=True))
    assert cells["language linear"] == "100.0 (+0.0 [+0.0, +0.0])"  # the same weights
    assert cells["emotion"] == "" and "language" not in body[2]
    assert dict(zip(header, body[3], strict=True))["emotion"].startswith("100.0")
    assert dict(zip(header, body[3], strict=True))["language linear"] == ""


def test_what_was_probed_is_read_again(corpus, tmp_path, capsys):
    save_whisper(tmp_path / "start")
    output = tmp_path / "found.json"
    given = arguments(corpus, output, f"start={tmp_path}/start")
    recipe.main(given)
    first = capsys.readouterr().out
    found = json.loads(output.read_text())
    (folder,) = found
    found[folder]["read"]["metrics"]["linear"] = 0.123
    output.write_text(json.dumps(found))
    recipe.main(given)
    second = capsys.readouterr().out
    assert "12.3" in second and "12.3" not in first


def test_short_utterances_and_corpora_without_a_test_are_left_out(corpus, tmp_path, capsys):
    text = (corpus / "train.csv").read_text().replace("acted", "elsewhere")
    text = text.replace(",0.5,", ",0.3,", 1)
    (corpus / "other.csv").write_text(text)
    args = recipe.parse(arguments(corpus, tmp_path / "x.json", "a=b"))
    args.train = [str(corpus / "other.csv")]
    groups = recipe.read_groups(args)
    assert set(groups) == {"read"} and len(groups["read"]["train"]) == 7
    printed = capsys.readouterr().out
    assert (
        "elsewhere: left out, as it is not in all of" in printed
        and "acted: left out, as it is not in all of" in printed
    )


def test_differences_are_of_the_same_items():
    first = {"metrics": {"linear": 0.5}, "correct": {"linear": [1.0, 0.0, 1.0, 0.0]}}
    mine = {"metrics": {"linear": 1.0}, "correct": {"linear": [1.0, 1.0, 1.0, 1.0]}}
    rows = {i: {"language": "fra", "speaker": f"s{i}"} for i in range(4)}
    found = recipe.differences([mine, mine], [first], "linear", rows, "language")
    assert found.mean == 0.5 and found.low < 0.5 < found.high and np.isfinite(found.low)


def test_a_label_of_one_speaker_counts_in_the_mean_alone():
    first = {"metrics": {"linear": 0.0}, "correct": {"linear": [0.0] * 5}}
    mine = {"metrics": {"linear": 0.75}, "correct": {"linear": [1.0, 0.0, 1.0, 0.0, 1.0]}}
    rows = {i: {"language": "fra", "speaker": f"s{i}"} for i in range(4)}
    rows |= {4: {"language": "deu", "speaker": "t"}}
    found = recipe.differences([mine], [first], "linear", rows, "language")
    assert found.mean == 0.75 and np.isfinite(found.low)
