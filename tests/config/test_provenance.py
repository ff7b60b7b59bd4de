"""Folders of results and the runs they belong to."""

import json
from pathlib import Path

import pytest

from masr_modules.config.provenance import check_same, claim, facts_of, fingerprint

MASR = Path(__file__).parents[2] / "hparams/masr.yaml"


@pytest.fixture
def run(tmp_path):
    """The YAML of a run that reads a CSV and an encoder, and their files."""
    (tmp_path / "train.csv").write_text("ID\na\n")
    encoder = tmp_path / "pretrained/encoder"
    encoder.mkdir(parents=True)
    (encoder / "weights.ckpt").write_bytes(b"1")
    (encoder / "README.md").write_text("a card")

    def text(**changes):
        settings = {
            "lr": 1,
            "output_folder": tmp_path / "out",
            "train_csv": tmp_path / "train.csv",
            "pretrained": tmp_path / "pretrained",
            "num_workers": 0,
            "log": f"!new:Log [{tmp_path}/out/log.txt]",
        }
        return "".join(f"{key}: {value}\n" for key, value in (settings | changes).items())

    return text


def test_the_same_run_may_go_on(run, tmp_path):
    claim(tmp_path / "out", run(), begun=False)
    begun = facts_of(run())
    claim(tmp_path / "out", run(num_workers=4), begun=True)
    (tmp_path / "pretrained/encoder/README.md").write_text("another card")
    check_same(tmp_path / "out", facts_of(run()))
    assert json.loads((tmp_path / "out/run.json").read_text()) == facts_of(run()) == begun


def test_a_folder_may_move(run, tmp_path):
    claim(tmp_path / "out", run(), begun=False)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = run(output_folder=tmp_path / "moved", log=f"!new:Log [{tmp_path}/moved/log.txt]")
    check_same(tmp_path / "moved", facts_of(moved))
    assert facts_of(moved) == facts_of(run())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lr": 2}, "was begun with lr: 1, this run has lr: 2; give another --output_folder"),
        ({"margin": 2}, "begun with margin: nothing, this run has margin: 2"),
        ("train.csv", "other contents of train_csv"),
        ("pretrained/encoder/weights.ckpt", "other contents of pretrained"),
    ],
)
def test_another_is_refused(run, tmp_path, change, message):
    claim(tmp_path / "out", run(), begun=False)
    if isinstance(change, str):
        (tmp_path / change).write_text("2")
        change = {}
    with pytest.raises(ValueError, match=message):
        claim(tmp_path / "out", run(**change), begun=True)
    claim(tmp_path / "out", run(**change), begun=False)  # nothing there would be reused


def test_every_contents_of_several_corpora_count(run, tmp_path):
    (tmp_path / "b.csv").write_text("ID\nb\n")
    several = run(train_csv=f"[{{csv: {tmp_path}/train.csv}}, {{csv: {tmp_path}/b.csv}}]")
    before = facts_of(several)
    (tmp_path / "b.csv").write_text("ID\nc\n")
    assert before["inputs"]["train_csv"] != facts_of(several)["inputs"]["train_csv"]


def test_a_fingerprint_tells_settings_and_not_seeds(tmp_path):
    yaml = tmp_path / "a.yaml"
    yaml.write_text("seed: 1\noutput_folder: x\nlr: 1 # a comment\nwidth: 2\n")
    plain = fingerprint(yaml, [])
    assert plain == fingerprint(yaml, ["--seed", "2", "--output_folder", "y"])
    assert plain != fingerprint(yaml, ["--lr", "2"])


def test_a_fingerprint_of_some_keys_has_those_that_they_refer_to(tmp_path):
    yaml = tmp_path / "a.yaml"
    yaml.write_text("folder: x\ncsv: !ref <folder>/a.csv\nlr: 1\n")
    plain = fingerprint(yaml, [], only=["csv", "not there"])
    assert plain == fingerprint(yaml, ["--lr", "2"], only=["csv"])
    assert plain != fingerprint(yaml, ["--folder", "y"], only=["csv"])


def test_a_fingerprint_does_not_tell_keys_that_came_later_and_change_nothing(tmp_path):
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text("lr: 1\n")
    later = "label_noise: {}\nlabelled_share: 1.0\nhard_pairs: {}\nhard_pair_share: 0.5\n"
    after.write_text("lr: 1\n" + later)
    assert fingerprint(before, []) == fingerprint(after, [])
    for change in (
        ["--label_noise", "{language: 0.1}"],
        ["--labelled_share", "0.5"],
        ["--hard_pairs", "{emotion: [speaker]}"],
    ):
        assert fingerprint(after, change) != fingerprint(before, [])


def test_a_fingerprint_does_not_depend_on_values_that_nothing_uses():
    head = "!name:masr_modules.heads.ClassifierHead [[language], 8, 8]"
    classifier = ["--head", head]
    plain, other = fingerprint(MASR, []), fingerprint(MASR, classifier)
    for change in (["--margin", "0.3"], ["--layers", "{}"], ["--knowledge_weight", "0.2"]):
        assert fingerprint(MASR, change) != plain
        assert fingerprint(MASR, [*classifier, *change]) == other
    for change in (["--masr_weight", "9"], ["--lr", "1"], ["--number_of_steps", "7"]):
        assert fingerprint(MASR, change) != plain
        assert fingerprint(MASR, [*classifier, *change]) != other


def test_a_fingerprint_tells_what_is_built_and_not_where_its_class_lies(tmp_path):
    yaml = tmp_path / "a.yaml"
    yaml.write_text("width: 1.0\nnet: !new:a.b.Net {width: !ref <width>, depth: 2}\nlr: 0.1\n")
    plain = fingerprint(yaml, [])
    alike = (
        "!new:c.Net {depth: 2, width: !ref <width>}",
        "!new:Net {depth: 2.0, width: !ref <width>}",
    )
    for net in alike:
        assert fingerprint(yaml, ["--net", net]) == plain
    yaml.write_text("lr: 1e-1\nnet: !new:a.b.Net {width: !ref <width>, depth: 2}\nwidth: 1\n")
    assert fingerprint(yaml, []) == plain
    for net in (
        "!new:a.b.Other {width: !ref <width>, depth: 2}",
        "!new:a.b.Net {width: !ref <width>}",
    ):
        assert fingerprint(yaml, ["--net", net]) != plain


def test_a_fingerprint_does_not_tell_sources_without_effect():
    """Speaker and emotion are on no prototype's column; the language also makes the batches."""
    language = (
        "!name:masr_modules.knowledge.LanguageDistance {kinds: [genetic, geographic, featural]}"
    )
    gender = "!name:masr_modules.knowledge.Categorical [gender, 0.5]"
    speaker = "!name:masr_modules.knowledge.Categorical [speaker]"

    def key(*sources, extra=()):
        return fingerprint(MASR, ["--knowledge", f"[{', '.join(sources)}]", *extra])

    assert key(language, gender) == key(language, gender, speaker) != key(gender)
    pairs = ["--prototypes", "null"]  # pairs of the batch know their speakers
    assert key(language, gender, extra=pairs) != key(language, gender, speaker, extra=pairs)
    nothing = ["--masr_weight", "0"]
    assert key(language, gender, extra=nothing) == key(language, extra=nothing)
    assert key(language, extra=nothing) != key(gender, extra=nothing)


def test_a_new_argument_that_does_nothing_leaves_the_name_of_older_runs(tmp_path):
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text("size: 3\nhead: !name:a.Head {size: !ref <size>}\n")
    block = "head: !name:a.Head {size: !ref <size>, pair_weight: !ref <pair_weight>}"
    after.write_text(f"size: 3\npair_weight: 0.0\n{block}\n")
    assert fingerprint(before, []) == fingerprint(after, [])
    assert fingerprint(before, []) != fingerprint(after, ["--pair_weight", "0.3"])
