"""Folders of results and the runs they belong to."""

import pytest

from masr_modules.provenance import check_same, claim, facts_of


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
    claim(tmp_path / "out", run(num_workers=4), begun=True)
    (tmp_path / "pretrained/encoder/README.md").write_text("another card")
    check_same(tmp_path / "out", facts_of(run()))


def test_a_folder_may_move(run, tmp_path):
    claim(tmp_path / "out", run(), begun=False)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = run(output_folder=tmp_path / "moved", log=f"!new:Log [{tmp_path}/moved/log.txt]")
    check_same(tmp_path / "moved", facts_of(moved))


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
