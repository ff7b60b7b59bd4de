"""Every recipe with two ranks (gloo) against one process with the joint batches."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, command_line, keys_of, small_settings
from ranks import losses_of
from test_corpora import OPTIONS, TREES
from test_pretrain import weights

from data_prep.voxlingua107_prepare import prepare_voxlingua107
from masr_modules.data.shards import write_shards

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent

#: YAML -> its recipe; batches of several lengths, so that epochs are uneven.
PRETRAINING = {
    f"{name}.yaml": "pretrain/train"
    for name in (
        "masr",
        *(f"pretrain_{method}" for method in ("wav2vec2", "w2v_bert", "hubert", "data2vec")),
        "whisper_tiny",
    )
}
TASKS = {
    "mini_lid.yaml": "language_id/train",
    "mini_asr.yaml": "asr/train",
    "mini_emotion.yaml": "emotion/train",
    "mini_speaker.yaml": "speaker/train",
}
#: What each rank draws for itself, and a checkpoint after every update.
DRAWING, SAVING = ["--dropout", "0.1"], ["--ckpt_interval_steps", "1"]
#: Folder, losses, before which batch it is killed, and before which it is asked to leave.
RUNS = (
    ("whole", "whole.json", 99, None),
    ("resumed", "resumed.json", 3, None),
    ("resumed", "resumed.json", 99, None),
    ("other", "other.json", 3, None),
    ("asked", "asked.json", 99, 1),
    ("asked", "again.json", 99, None),
)
SETTINGS = {"lr": 1e-4, "encoder_lr": 1e-5, "max_batch_seconds": 8.0, "num_buckets": 5}


def torchrun(ranks, command, **options):
    """Starts a script as docs/scale.md says, on CPUs."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    paths = os.pathsep.join(map(str, (ROOT, HERE, ROOT / "tests/support")))
    return subprocess.Popen(
        [*launcher, f"--nproc-per-node={ranks}", *map(str, command)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def arguments_of(yaml, corpus, pretrained, folder):
    settings = small_settings(yaml, corpus, folder, pretrained) | SETTINGS
    if yaml in PRETRAINING:
        settings["number_of_steps"] = 6
    else:
        settings |= {"pretrained": str(pretrained), "cache_folder": str(folder / "frames")}
        settings["freeze"] = "asr" in yaml
    if yaml == "mini_asr.yaml":
        settings["head"] = "!name:masr_modules.downstream.heads.CTCHead {rnn_size: 8}"
    if yaml == "mini_speaker.yaml":
        settings["valid_metric"] = "identification_error"
    known = {k: v for k, v in settings.items() if k in keys_of(yaml)}
    return command_line(yaml, known)


def sharded(folder):
    """A corpus of its own in five shards, and what reads it."""
    tree = TREES["voxlingua107"](folder / "corpus")
    prepare_voxlingua107(str(tree), str(tree / "csv"), **OPTIONS["voxlingua107"])
    write_shards(tree / "csv/train.csv", tree, tree / "shards", shard_hours=10 / 3600)
    settings = {"data_folder": tree, "train_shards": tree / "shards", "shard_window": 15}
    settings |= {"skip_prep": True, "num_workers": 0, **OPTIONS["voxlingua107"]}
    yaml = "pretrain_voxlingua107.yaml"
    return command_line(yaml, small_settings(yaml, None, folder / "shards") | settings)


@pytest.fixture(scope="module")
def starts(pretrained_folder, hf_folder):
    """YAML -> the trained encoder that it starts from, where it does."""
    return {yaml: pretrained_folder for yaml in TASKS} | {
        yaml: hf_folder.get(Path(yaml).stem) for yaml in PRETRAINING
    }


@pytest.fixture(scope="module")
def two_ranks(mini_corpus, starts, kmeans, tmp_path_factory):
    """YAML -> the folder and the losses of a run on two ranks; one torchrun for all."""
    folder, jobs = tmp_path_factory.mktemp("two"), []
    for yaml, recipe in {**PRETRAINING, **TASKS}.items():
        arguments = arguments_of(yaml, mini_corpus, starts[yaml], folder / yaml)
        if "hubert" in yaml:
            kmeans.main(arguments)
        options = ["--device", "cpu", "--distributed_backend", "gloo"]
        jobs.append((recipe, str(folder / f"{yaml}.json"), arguments + options, None, None))
    for place, losses, stop_at, asked_at in RUNS:
        arguments = arguments_of("masr.yaml", mini_corpus, "", folder / place) + DRAWING + options
        arguments += SAVING if asked_at is None else []
        jobs.append(("pretrain/train", str(folder / losses), arguments, stop_at, asked_at))
    arguments = [*sharded(folder), *options]
    jobs.append(("pretrain/train", str(folder / "shards.json"), arguments, None, None))
    (folder / "jobs.json").write_text(json.dumps(jobs))
    process = torchrun(2, [HERE / "ranks.py", folder / "jobs.json"])
    try:
        printed, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, printed[-5000:]
    (folder / "printed.txt").write_text(printed)
    return folder


@pytest.mark.parametrize("yaml", [*PRETRAINING, *TASKS])
def test_two_ranks_are_one_process(yaml, two_ranks, mini_corpus, starts, kmeans, tmp_path):
    arguments = arguments_of(yaml, mini_corpus, starts[yaml], tmp_path / "one")
    if "hubert" in yaml:
        kmeans.main(arguments)
    expected = losses_of({**PRETRAINING, **TASKS}[yaml], arguments, merged=2)
    assert json.loads((two_ranks / f"{yaml}.json").read_text()) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )
    # One writer, and every utterance counted once.
    table, log = (tmp_path / "one/results.md"), (tmp_path / "one/train_log.txt")
    found = (two_ranks / yaml / "results.md").read_text().splitlines()
    assert len(found) == len(table.read_text().splitlines())
    written = (two_ranks / yaml / "train_log.txt").read_text().splitlines()
    assert len(written) == len(log.read_text().splitlines())


def test_what_all_ranks_have_to_say_is_said_once(two_ranks):
    lines = (two_ranks / "printed.txt").read_text().splitlines()
    said = [line for line in lines if "'region' gives the" in line]
    # The second rank has no handler, and would print the bare message.
    assert said and all(line.startswith("masr_modules.data.candidates - ") for line in said)


@pytest.mark.parametrize("folder", ["resumed", "asked"])
def test_two_ranks_resume_to_the_same_weights(two_ranks, folder):
    for name in ("ssl", "head"):
        whole, resumed = weights(two_ranks / "whole", name), weights(two_ranks / folder, name)
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_one_rank_that_gets_sigterm_takes_all_along(two_ranks):
    assert json.loads((two_ranks / "asked.json").read_text()) == 143
    losses = [json.loads((two_ranks / f"{name}.json").read_text()) for name in ("whole", "again")]
    assert losses[1] == losses[0][2:]  # updates 1 and 2 were saved


def test_two_ranks_read_shards_of_their_own(two_ranks):
    log = (two_ranks / "shards/train_log.txt").read_text()
    losses = json.loads((two_ranks / "shards.json").read_text())
    assert f"step: {len(losses)}," in log and all(map(math.isfinite, losses))
    assert len((two_ranks / "shards/results.md").read_text().splitlines()) > 2


def test_a_run_of_two_ranks_goes_on_with_one(two_ranks, mini_corpus, pretrain):
    folder = two_ranks / "other"
    pretrain.main(arguments_of("masr.yaml", mini_corpus, "", folder) + DRAWING + SAVING)
    log = (folder / "train_log.txt").read_text()
    assert "step: 6," in log and len(json.loads((folder / "results.json").read_text())) > 1


def test_a_dead_rank_ends_the_job_with_its_reason(mini_corpus, tmp_path):
    arguments = arguments_of("masr.yaml", mini_corpus, "", tmp_path / "out")
    options = ["--device", "cpu", "--distributed_backend", "gloo", "--number_of_steps", "100000"]
    at = arguments.index("--number_of_steps")
    command = [ROOT / "recipes/pretrain/train.py", *arguments[:at], *arguments[at + 2 :], *options]
    process = torchrun(2, command)
    try:
        log = tmp_path / "out/train_log.txt"
        deadline = time.monotonic() + 200
        while not log.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        died = time.monotonic()
        printed, _ = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode and time.monotonic() - died < 60
    assert "Signal 9 (SIGKILL)" in printed
