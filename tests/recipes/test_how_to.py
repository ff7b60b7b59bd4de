"""docs/extend.md and README, followed to the letter in a copy of the repository."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import ROOT, command_line, logged, small_settings
from how_to import TEXT, blocks, commands, paste

pytestmark = pytest.mark.slow

#: What a command begins with, and what Python runs for it.
PROGRAMS = {
    "python": [],
    "masr": ["-c", "import sys; from masr_modules.commands.main import main; sys.exit(main())"],
}
PARTS = ("masr_modules", "data_prep", "recipes", "hparams", "tests")


@pytest.fixture
def follow(tmp_path, mini_corpus):
    """Pastes a section of the text, then runs its commands; training in a few steps."""
    copy = tmp_path / "copy"
    for part in PARTS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, copy / part, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "data").mkdir()
    (copy / "data/mini").symlink_to(mini_corpus)
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}

    def run(section, corpus=mini_corpus, text=TEXT, made=lambda copy: None, **extra):
        paste(copy, section, text)
        made(copy)
        printed = []
        for program, *words in commands(section, text):
            words = [*PROGRAMS[program], *words]
            if words[0].endswith("/train.py"):
                yaml = str(copy / words[1])
                settings = small_settings(yaml, corpus, tmp_path / "out") | extra
                words = [words[0], *command_line(yaml, settings)]
            words = [
                str(corpus / word[7:]) if word.startswith("DIGITS/") else word for word in words
            ]
            words = [str(corpus) if word == "DIGITS" else word for word in words]
            done = subprocess.run(
                [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
            printed.append(done.stdout)
        return printed

    return run


def results(tmp_path):
    return json.loads((tmp_path / "out/results.json").read_text()).popitem()[1]


def table_of(printed):
    """Header, then a row each, of the Markdown table that a run printed."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return header, rows


def test_a_source(follow, tmp_path):
    doctest, report, _ = follow("A source")
    assert "1 passed" in doctest
    assert "SharedPath on 'region'" in report
    assert 0 <= results(tmp_path)["knn"] <= 1


def test_a_corpus(follow, tmp_path):
    recordings = tmp_path / "digits/recordings"
    recordings.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for speaker in ("ann", "bob", "eve", "joe", "kim", "leo", "mia"):
        for number in range(6):
            path = recordings / f"{number % 3}_{speaker}_{number}.wav"
            soundfile.write(path, 0.1 * generator.standard_normal(8000), 8000)
    follow("A corpus", recordings.parent, skip_prep=False)
    train = (recordings.parent / "csv/train.csv").read_text()
    assert train.count("digits_") >= 2 * 6 * 3
    assert results(tmp_path)


def test_an_ssl_method(follow, tmp_path):
    suite, _ = follow("An SSL method")
    assert " passed" in suite and "failed" not in suite
    assert 0 <= results(tmp_path)["knn"] <= 1


def test_a_metric(follow, tmp_path, pretrained_folder):
    places = {"pretrained": pretrained_folder, "cache_folder": tmp_path / "frames"}
    doctest, training = follow("A metric", **places)
    assert "1 passed" in doctest
    found = json.loads((tmp_path / "out/results.json").read_text())["metrics"]
    assert 0 < found["calibration_error"] <= 1
    header, (row, *_) = table_of(training)
    assert row[header.index("calibration error (%)")] == f"{100 * found['calibration_error']:.1f}"


def test_a_loss(follow, tmp_path):
    doctest, _ = follow("A loss")
    assert "1 passed" in doctest
    found = logged(tmp_path / "out")
    assert 0 < found["train masr"] < 4 * 3.25 and 0 < found["train pairs_language"] < 1
    assert results(tmp_path)


def test_own_recordings_as_the_readme_has_them(follow, tmp_path):
    def record(copy):
        """More utterances like those of the three rows, in three splits, and their audio."""
        rows = load_rows_of(copy / "corpus/train.csv")
        generator = np.random.default_rng(0)
        for row in rows:
            path = copy / row["wav"].replace("$data_root", "corpus")
            path.parent.mkdir(exist_ok=True)
            samples = 0.1 * generator.standard_normal(int(16000 * float(row["duration"])))
            soundfile.write(path, samples, 16000)
        for split in ("train", "valid", "test"):
            more = [row | {"ID": f"{row['ID']}_{split}_{n}"} for row in rows for n in range(4)]
            with open(copy / f"corpus/{split}.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(more)

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    corpus = tmp_path / "copy/corpus"
    report, training = follow("Your own recordings", corpus, text, record)
    assert all(f"on '{name}'" in report for name in ("language", "speaker", "gender", "age")), (
        report
    )
    header, (row, *_) = table_of(training)
    assert row[1] == "MASR" and 0 <= results(tmp_path)["linear"] <= 1


def load_rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_question_of_a_newcomer_has_its_section_and_its_test():
    sections = re.findall(r"^## (.*)$", TEXT, re.M)
    assert sections == [
        "A source",
        "A corpus",
        "An SSL method",
        "A task",
        "A metric",
        "A loss",
    ]
    assert {block.section for block in blocks() if block.kind == "sh"} == set(sections)
