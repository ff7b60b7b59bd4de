"""The pretraining recipe from CSV to table, interrupted, and with bad input."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
import ruamel.yaml
import torch
from conftest import ROOT, keys_of
from speechbrain.core import RunOptions
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from masr_modules.inference import MASREncoder
from masr_modules.settings import load_settings, merge_bases, resolve_settings


def yamls(*patterns):
    """Names under hparams/, sorted."""
    found = {path for pattern in patterns for path in (ROOT / "hparams").glob(pattern)}
    return sorted(str(path.relative_to(ROOT / "hparams")) for path in found)


YAMLS = yamls("masr.yaml", "pretrain_*.yaml", "published/*.yaml")

#: Those whose knowledge or folders the tiny corpus lacks; see test_corpora.py.
REAL = ("fleurs", "voxlingua107", "iemocap", "voxceleb", "commonvoice", "several", "debian")
CORPORA = [f"pretrain_{name}.yaml" for name in REAL]


def weights(folder, name="ssl"):
    """The newest checkpoint's weights."""
    newest = max(Path(folder, "save").glob("CKPT*"), key=lambda path: path.name)
    return torch.load(newest / f"{name}.ckpt", weights_only=True)


@pytest.mark.parametrize(
    "block",
    [
        {"loss": "!new:masr_modules.pairwise.losses.XSampleLoss {temperature: 0.2}"},
        {
            "head": "!new:masr_modules.pairwise.heads.ClassifierHead "
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


@pytest.mark.parametrize("yaml", [yaml for yaml in YAMLS if yaml not in CORPORA])
def test_runs_from_csv_to_table(yaml, pretrain, kmeans, arguments, tmp_path, capsys):
    if "hubert" in yaml:
        kmeans.main(arguments(yaml))
    pretrain.main(arguments(yaml))
    results = json.loads((tmp_path / "out/results.json").read_text())
    start = "start" if "source" in keys_of(yaml) else "untrained"
    beside = {start, "log-mel statistics", "MFCC statistics", "chance"}
    assert set(results) > beside and len(results) == len(beside) + 1
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


def logged_images(folder):
    """Tag -> (step, PNG) of each image in TensorBoard's files."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return {
        tag: [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


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


def test_tensorboard_shows_no_more_than_it_can_and_no_knowledge_without_a_head(
    pretrain, arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr("masr_modules.pretrain_report.MAX_PROJECTED", 3)
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


@pytest.mark.parametrize(
    "yaml, step",
    [
        ("masr.yaml", 2),
        ("masr.yaml", 5),
        ("pretrain_wav2vec2.yaml", 5),  # its state has a temperature
        ("pretrain_data2vec.yaml", 5),  # and a teacher
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(
    yaml, step, pretrain, arguments, tmp_path, monkeypatch
):
    settings = {"number_of_steps": 8, "dropout": 0.1, "ckpt_interval_steps": 1}
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


def test_a_folder_is_that_of_one_run(pretrain, arguments, tmp_path):
    pretrain.main(arguments(number_of_steps=2))
    table = (tmp_path / "out/results.md").read_text()
    with pytest.raises(ValueError, match="begun with margin: 0.[0-9]*, this run has margin: 0.77"):
        pretrain.main(arguments(number_of_steps=2, margin=0.77))
    assert (tmp_path / "out/results.md").read_text() == table
    assert "0.77" not in (tmp_path / "out/hyperparams.yaml").read_text()


@pytest.mark.parametrize("every, lr", [(1, 0.0), (4, 0.0)])
def test_accumulation_changes_no_number_of_updates(every, lr, pretrain, arguments, tmp_path):
    pretrain.main(arguments(grad_accumulation_factor=every, max_batch_seconds=6.0))
    lines = (tmp_path / "out/train_log.txt").read_text().splitlines()
    assert f"step: 4, lr: {lr:.2e}" in lines[-1]
    assert len(lines) > (every > 1)


def test_ssl_only_trains_no_head(pretrain, arguments, tmp_path):
    pretrain.main(arguments(masr_weight=0))
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train ssl:" in log and "masr" not in log
    assert not list((tmp_path / "out/save").glob("CKPT*/head.ckpt"))


@pytest.mark.parametrize(
    "overrides, said, not_said",
    [
        ({}, "'language'", "'emotion'"),
        ({"knowledge_weight": 0.0}, "- none", "'language'"),
        ({"masr_weight": 0}, "nothing: plain SSL", "'language'"),
    ],
)
def test_the_card_says_what_was_used_and_no_more(
    overrides, said, not_said, pretrain, arguments, tmp_path
):
    pretrain.main(arguments(number_of_steps=2, **overrides))
    card = (tmp_path / "out/encoder/README.md").read_text()
    used = card.split("## Metadata used")[1].split("## Results")[0]
    assert said in used and not_said not in used


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
        {"head": f"!new:masr_modules.pairwise.heads.ClassifierHead {classifier}"},
    )
    for i, overrides in enumerate(arms):
        seen.append([])
        pretrain.main(arguments(output_folder=tmp_path / str(i), **overrides))
    assert len(seen[0]) == 4 and all(arm == seen[0] for arm in seen)


def resolved(yaml, overrides):
    """The YAML as a tree: bases and references resolved, no object made."""
    return ruamel.yaml.YAML().load(resolve_settings(ROOT / "hparams" / yaml, overrides))


def values(tree):
    """The keys of a block that hold plain values, as a user may override them."""
    return {
        key: value
        for key, value in tree.items()
        if isinstance(value, int | float | str | list | None)
        and not (isinstance(value, list) and value.tag.value)
    }


def other_value(key, value):
    """A value of the same kind that is not the one in the YAML."""
    if isinstance(value, list):
        return [] if value else ["other"]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 2
    if isinstance(value, float):
        return value / 2 + 0.11
    return "other"


@pytest.mark.parametrize("yaml", yamls("*.yaml", "published/*.yaml"))
def test_every_top_level_value_can_be_overridden(yaml, small_overrides):
    settings = small_overrides(yaml)
    plain = values(resolved(yaml, settings))
    wanted = {key: other_value(key, value) for key, value in plain.items()}
    changed = resolved(yaml, settings | wanted)
    assert len(wanted) > 30
    for key, value in wanted.items():
        assert changed[key] == value != plain[key], key


CODE = "".join(
    path.read_text()
    for folder in ("recipes", "masr_modules")
    for path in sorted((ROOT / folder).rglob("*.py"))
)

RUN_OPTIONS = {field.name for field in dataclasses.fields(RunOptions)}  # sb.Brain reads them


@pytest.mark.parametrize("yaml", yamls("*.yaml", "published/*.yaml"))
def test_every_top_level_value_is_read(yaml):
    tree = merge_bases(ROOT / "hparams" / yaml)
    text = io.StringIO()
    ruamel.yaml.YAML().dump(tree, text)
    for key in tree:
        referred = re.search(rf"!ref .*<{key}[>.\[]", text.getvalue())
        read = key in RUN_OPTIONS or re.search(rf"\b{key}\b", CODE)
        assert referred or read or key == "__set_seed", key


def test_an_override_reaches_the_object_it_is_for():
    changes = {"num_layers": 1, "margin": 0.7, "mask_span": 4, "lr": 0.5, "codebook_size": 32}
    parts = ["ssl", "head", "opt_class", "lr_schedule"]
    hparams = load_settings(ROOT / "hparams/masr.yaml", changes, only=parts)
    assert len(hparams["ssl"].encoder.context.layers) == 1
    assert hparams["head"].heads["speaker"].loss.margin == 0.7
    assert hparams["ssl"].mask_span == 4
    assert hparams["ssl"].prediction.classifier.out_features == 32
    assert hparams["opt_class"].keywords["lr"] == hparams["lr_schedule"].base_lr == 0.5


def edited_csv(corpus, tmp_path, edit, split="train"):
    """A copy of a split's CSV with `edit` applied to its rows."""
    with open(corpus / f"csv/{split}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fields = list(rows[0])
    rows = edit(rows)
    path = tmp_path / "edited.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_an_unknown_metadata_column_in_the_yaml(pretrain, arguments):
    with pytest.raises(ValueError, match="'dialect', named in the YAML, is not in the CSV"):
        pretrain.main(arguments(identities="{dialect: 1.0}", layers="{}"))


def test_an_empty_csv(pretrain, arguments, mini_corpus, tmp_path):
    path = edited_csv(mini_corpus, tmp_path, lambda rows: [])
    with pytest.raises(ValueError, match="edited.csv: has a header but no rows"):
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


NUMERIC_SESSION = "[!new:masr_modules.knowledge.Numeric {column: session, length_scale: 2}]"


def test_a_source_of_numbers_has_its_column_read_as_numbers(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        return [row | {"session": f"{2000 + i % 5}"} for i, row in enumerate(rows)]

    path = edited_csv(mini_corpus, tmp_path, edit)
    pretrain.main(arguments(train_csv=path, knowledge=NUMERIC_SESSION, number_of_steps=2))


def test_a_cell_that_is_no_number_names_column_cell_and_utterance(
    pretrain, arguments, mini_corpus, tmp_path
):
    def edit(rows):
        return [rows[0] | {"session": "monday"}, *rows[1:]]

    path = edited_csv(mini_corpus, tmp_path, edit)
    with pytest.raises(ValueError, match="'session': 'monday' of utterance 'mini_"):
        pretrain.main(arguments(train_csv=path, knowledge=NUMERIC_SESSION))


def test_batches_of_one_utterance_train(pretrain, arguments):
    pretrain.main(arguments(max_batch_seconds=2.0, max_crop_seconds=2.0, number_of_steps=2))


def test_half_of_the_metadata_missing_still_trains(pretrain, arguments, mini_corpus, tmp_path):
    def edit(rows):
        for i, row in enumerate(rows):
            for column in ("language", "speaker", "gender", "emotion")[i % 2 :: 2]:
                row[column] = ""
        return rows

    pretrain.main(arguments(train_csv=edited_csv(mini_corpus, tmp_path, edit)))


def test_branches_tell_of_languages_that_are_hidden(pretrain, arguments, tmp_path):
    pretrain.main(arguments(hidden_labels={"language": 0.5, "region": 1}, family_depth=3))
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train anchors_language: 1.00e+00" in log


def test_the_progress_bar_shows_both_losses(pretrain, arguments, capsys):
    pretrain.main(arguments()[:-1])  # the last argument is --noprogressbar
    shown = capsys.readouterr().err
    assert re.search(r"train_loss=\d+\.\d{3} \(ssl \d+\.\d{3}, masr \d+\.\d{3}\)", shown)


def rewrite(source, target, change):
    """A CSV with each row changed by a function."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = [change(dict(row)) for row in csv.DictReader(file)]
    with open(target, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(target)


def test_a_csv_needs_only_what_is_told_apart(pretrain, arguments, mini_corpus, tmp_path):
    def minimal(row):
        return {column: row[column] for column in ("ID", "duration", "wav", "language")}

    csvs = {
        f"{split}_csv": rewrite(
            mini_corpus / f"csv/{split}.csv", tmp_path / f"{split}.csv", minimal
        )
        for split in ("train", "valid", "test")
    }
    knowledge = "[!new:masr_modules.knowledge.LanguageDistance [language]]"
    settings = {"identities": "{language: 1.0}", "layers": "{}", "knowledge": knowledge}
    prototypes = "!new:masr_modules.pairwise.prototypes.Prototypes"
    pretrain.main(arguments(**csvs, **settings, labelled_csv="null", prototypes=prototypes))
    results = json.loads((tmp_path / "out/results.json").read_text())["MASR"]
    assert results["knn"] == results["knn"] and results["gender"] != results["gender"]


def test_an_id_that_means_two_things_is_an_error(pretrain, arguments, mini_corpus, tmp_path):
    with open(mini_corpus / "csv/train.csv", encoding="utf-8", newline="") as file:
        taken = next(csv.DictReader(file))["ID"]
    test = mini_corpus / "csv/test.csv"
    twice = rewrite(test, tmp_path / "test.csv", lambda row: row | {"ID": row["ID"]})
    text = Path(twice).read_text(encoding="utf-8").splitlines(keepends=True)
    text[1] = taken + text[1][text[1].index(",") :]
    Path(twice).write_text("".join(text), encoding="utf-8")
    with pytest.raises(ValueError, match=f"ID '{taken}' is in .*train.csv and in .*test.csv with"):
        pretrain.main(arguments(test_csv=twice))
