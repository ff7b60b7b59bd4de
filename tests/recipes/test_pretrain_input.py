"""Pretraining from CSVs that lack something or have it wrong."""

import csv
import json
import math

import pytest
import torch
from conftest import edited_csv, logged
from test_pretrain import Killed, kill_before_step, weights

from masr_modules.knowledge import Numeric

pytestmark = pytest.mark.slow


def test_an_unknown_metadata_column_in_the_yaml(pretrain, arguments):
    with pytest.raises(ValueError, match="'dialect', named in the YAML, is not in the CSV"):
        pretrain.main(arguments(identities="{dialect: 1.0}", layers="{}"))


def test_an_empty_csv(pretrain, arguments, mini_corpus, tmp_path):
    path = edited_csv(mini_corpus, tmp_path, lambda rows: [])
    with pytest.raises(ValueError, match="edited_train.csv: has a header but no rows"):
        pretrain.main(arguments(train_csv=path))


def test_missing_audio_under_the_limit_is_named_and_left_out(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        rows[3]["wav"] = "$data_root/gone.wav"
        return rows

    path = edited_csv(mini_corpus, tmp_path, edit)
    with pytest.raises(ValueError, match=r"1 of \d+ audio files .*gone\.wav.*max_unreadable"):
        pretrain.main(arguments(train_csv=path, max_unreadable=0.0))
    pretrain.main(arguments(train_csv=path, max_unreadable=0.1))
    log = (tmp_path / "out/log.txt").read_text()
    assert "gone.wav: no such file" in log and "going on without them" in log


def test_a_language_that_uriel_does_not_know_gives_no_knowledge_and_a_warning(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        return [row | {"language": "epo"} if row["language"] == "nld" else row for row in rows]

    pretrain.main(arguments(train_csv=edited_csv(mini_corpus, tmp_path, edit)))
    assert "epo" in (tmp_path / "out/log.txt").read_text()


def test_a_label_that_is_no_language_names_source_column_and_label(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        return [rows[0] | {"language": "zz-nonsense"}, *rows[1:]]

    with pytest.raises(ValueError, match="LanguageDistance.*'language'.*'zz-nonsense'"):
        pretrain.main(arguments(train_csv=edited_csv(mini_corpus, tmp_path, edit)))


NUMERIC_SESSION = "[!name:masr_modules.knowledge.Numeric {column: session, length_scale: 2}]"


def test_a_source_of_numbers_has_its_column_read_as_numbers(
    pretrain, arguments, mini_corpus, tmp_path, monkeypatch
):
    seen, pairs = set(), Numeric.pairs

    def spy(source, rows, columns):
        seen.update(rows.tolist())
        return pairs(source, rows, columns)

    def edit(rows):
        return [row | {"session": f"{2000 + i % 5}"} for i, row in enumerate(rows)]

    monkeypatch.setattr(Numeric, "pairs", spy)
    path = edited_csv(mini_corpus, tmp_path, edit)
    settings = {"knowledge": NUMERIC_SESSION, "prototypes": "null", "number_of_steps": 2}
    pretrain.main(arguments(train_csv=path, **settings))
    read = {number for number in seen if number == number}  # of the other splits: not known
    assert read and read <= {2000.0, 2001.0, 2002.0, 2003.0, 2004.0}


def test_a_cell_that_is_no_number_names_column_cell_and_utterance(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        return [rows[0] | {"session": "monday"}, *rows[1:]]

    path = edited_csv(mini_corpus, tmp_path, edit)
    with pytest.raises(ValueError, match="'session': 'monday' of utterance 'mini_"):
        pretrain.main(arguments(train_csv=path, knowledge=NUMERIC_SESSION))


def test_half_of_the_metadata_missing_still_trains(pretrain, arguments, mini_corpus, tmp_path):
    def edit(rows):
        for i, row in enumerate(rows):
            for column in ("language", "speaker", "gender", "emotion")[i % 2 :: 2]:
                row[column] = ""
        return rows

    pretrain.main(arguments(train_csv=edited_csv(mini_corpus, tmp_path, edit)))
    found = logged(tmp_path / "out")
    assert found["step"] == 4 and all(map(math.isfinite, found.values()))
    assert found["train masr"] > 0 and 0 < found["train anchors_gender"] < 1


def test_a_csv_needs_only_what_is_told_apart(pretrain, arguments, mini_corpus, tmp_path):
    def minimal(rows):
        return [{name: row[name] for name in ("ID", "duration", "wav", "language")} for row in rows]

    csvs = {
        f"{split}_csv": edited_csv(mini_corpus, tmp_path, minimal, split)
        for split in ("train", "valid", "test")
    }
    knowledge = "[!name:masr_modules.knowledge.LanguageDistance [language]]"
    settings = {"identities": "{language: 1.0}", "layers": "{}", "knowledge": knowledge}
    prototypes = "!name:masr_modules.pairwise.prototypes.Prototypes"
    pretrain.main(arguments(**csvs, **settings, labelled_csv="null", prototypes=prototypes))
    results = json.loads((tmp_path / "out/results.json").read_text())["MASR"]
    assert results["knn"] == results["knn"] and results["gender"] != results["gender"]


def test_an_id_that_means_two_things_is_an_error(pretrain, arguments, mini_corpus, tmp_path):
    with open(mini_corpus / "csv/train.csv", encoding="utf-8", newline="") as file:
        taken = next(csv.DictReader(file))["ID"]

    def edit(rows):
        return [rows[0] | {"ID": taken}, *rows[1:]]

    path = edited_csv(mini_corpus, tmp_path, edit, "test")
    with pytest.raises(ValueError, match=f"ID '{taken}' is in .*train.csv and in .*test.csv with"):
        pretrain.main(arguments(test_csv=path))


def test_decoded_audio_is_kept_and_trains_alike(pretrain, arguments, mini_corpus, tmp_path):
    folder, results = tmp_path / "audio", []
    for name, audio_cache in (("without", "null"), ("fills", folder), ("filled", folder)):
        out = tmp_path / name
        pretrain.main(arguments(output_folder=out, audio_cache=audio_cache))
        results.append(logged(out))
    # The corpus has 16 bits at the run's rate.
    assert results[0] == results[1] == results[2] and any(folder.glob("*.pcm"))


def test_an_audio_cache_that_is_too_small_is_refused(pretrain, arguments, tmp_path):
    with pytest.raises(ValueError, match="audio_cache: .*max_audio_cache_gb is 1e-06"):
        pretrain.main(arguments(audio_cache=tmp_path / "audio", max_audio_cache_gb="1.0e-6"))


def test_a_killed_run_with_a_worker_and_a_cache_resumes_to_the_same_weights(
    pretrain, arguments, tmp_path, monkeypatch
):
    settings = {"num_workers": 1, "audio_cache": tmp_path / "audio", "number_of_steps": 3}
    settings |= {"ckpt_interval_steps": 1, "ckpt_interval_minutes": 0}
    pretrain.main(arguments(output_folder=tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        kill_before_step(patch, pretrain, 2)
        with pytest.raises(Killed):
            pretrain.main(arguments(output_folder=tmp_path / "killed", **settings))
    pretrain.main(arguments(output_folder=tmp_path / "killed", **settings))
    expected, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, resumed[key]) for key, value in expected.items())


def test_an_audio_cache_of_shards_is_refused(pretrain):
    with pytest.raises(ValueError, match="audio_cache does not cache .* train_shards"):
        pretrain.open_audio_cache({"audio_cache": "cache", "train_shards": "shards"}, {})
