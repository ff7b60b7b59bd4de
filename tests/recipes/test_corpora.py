"""Each corpus's YAML from its tiny tree to the table of results, in two steps."""

import json

import pytest
import soundfile
import tiny_debs
import torch
from test_pretrain import Killed, kill_before_step, weights
from trees import VOXLINGUA_VIDEOS, commonvoice_tree, fleurs_tree, voxlingua107_tree
from trees_iemocap import iemocap_tree
from trees_voxceleb import voxceleb1_tree, voxceleb2_tree

from masr_modules.data.corpus import load_csv

pytestmark = pytest.mark.slow

#: Name of the YAML -> builds its corpus.
TREES = {
    "fleurs": fleurs_tree,
    "voxlingua107": lambda folder: voxlingua107_tree(
        folder, videos=[*VOXLINGUA_VIDEOS, *(f"video-{n}_" for n in range(6))]
    ),
    "commonvoice": commonvoice_tree,
    "iemocap": iemocap_tree,
    "voxceleb": lambda folder: voxceleb1_tree(voxceleb2_tree(folder)),
    "debian": lambda folder: tiny_debs.make_packages(folder, broken=False),
}

#: What a corpus this small needs.
OPTIONS = {"voxlingua107": {"valid_share": 0.3}, "voxceleb": {"valid_share": 0.3}}

#: Those that train together in pretrain_several.yaml.
SEVERAL = ("fleurs", "voxlingua107", "commonvoice")


@pytest.mark.parametrize("name", TREES)
def test_from_the_corpus_to_the_table(name, pretrain, arguments, tmp_path):
    folder = TREES[name](tmp_path / name)
    settings = {"data_folder": folder, "skip_prep": False, "number_of_steps": 2}
    pretrain.main(arguments(f"pretrain_{name}.yaml", **settings, **OPTIONS.get(name, {})))
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert 0 <= results["MASR"]["knn"] <= 1
    log = (tmp_path / "out/train_log.txt").read_text()
    assert "train ssl:" in log and "train masr:" in log
    for split in ("train", "valid", "test"):
        assert all(load_csv(path, folder) for path in folder.glob(f"csv/**/{split}.csv"))


def test_a_killed_run_on_shards_resumes_to_the_same_weights(
    pretrain, arguments, tmp_path, monkeypatch
):
    folder = TREES["voxlingua107"](tmp_path / "corpus")
    settings = {
        "data_folder": folder,
        "train_shards": folder / "shards",
        "shard_window": 15,
        "skip_prep": False,
        "number_of_steps": 3,  # of the four of an epoch
        "ckpt_interval_minutes": 0,
        "ckpt_interval_steps": 1,
        **OPTIONS["voxlingua107"],
    }
    yaml = "pretrain_voxlingua107.yaml"
    pretrain.main(arguments(yaml, output_folder=tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        kill_before_step(patch, pretrain, 2)
        with pytest.raises(Killed):
            pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    for wav in folder.glob("??/*.wav"):
        soundfile.write(wav, [0.0] * 16000, 16000)  # training reads the shards alone
    pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    expected, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, resumed[key]) for key, value in expected.items())


def test_the_table_tells_the_probed_label(pretrain, arguments, tmp_path):
    folder = iemocap_tree(tmp_path / "iemocap")
    settings = {"data_folder": folder, "skip_prep": False, "number_of_steps": 2, "fold": 3}
    pretrain.main(arguments("pretrain_iemocap.yaml", **settings))
    header = (tmp_path / "out/results.md").read_text().splitlines()[0]
    assert "emotion kNN" in header and "language" not in header
    metrics = json.loads((tmp_path / "out/results.json").read_text())["untrained"]
    assert 0 <= metrics["linear"] <= 1 and 0 <= metrics["speaker_eer"] <= 1
    assert metrics["family"] != metrics["family"]  # not known: no language is asked for


def test_a_probed_label_that_nobody_has_is_named(pretrain, arguments, tmp_path):
    folder = voxceleb1_tree(tmp_path / "voxceleb")
    settings = {"data_folder": folder, "skip_prep": False, "valid_share": 0.3}
    with pytest.raises(ValueError, match="no training utterance has a language: set probe_column"):
        pretrain.main(arguments("pretrain_voxceleb.yaml", **settings, probe_column="language"))


def test_several_corpora_at_once(pretrain, arguments, tmp_path, monkeypatch):
    from data_prep.commonvoice_prepare import prepare_commonvoice
    from data_prep.fleurs_prepare import prepare_fleurs
    from data_prep.voxlingua107_prepare import prepare_voxlingua107

    folders = {name: str(TREES[name](tmp_path / f"{name} é")) for name in SEVERAL}
    prepare_fleurs(folders["fleurs"], folders["fleurs"] + "/csv")
    prepare_commonvoice(folders["commonvoice"], folders["commonvoice"] + "/csv")
    prepare_voxlingua107(folders["voxlingua107"], folders["voxlingua107"] + "/csv")

    seen = []
    forward = pretrain.PretrainBrain.compute_forward

    def spy(self, batch, stage):
        if stage.name == "TRAIN":
            seen.extend(batch.id)
        return forward(self, batch, stage)

    monkeypatch.setattr(pretrain.PretrainBrain, "compute_forward", spy)
    line = arguments("pretrain_several.yaml", **folders, number_of_steps=6)
    for split in ("train", "valid", "test"):  # the YAML's own lists, not the tiny corpus
        place = line.index(f"--{split}_csv")
        del line[place : place + 2]
    pretrain.main(line)
    assert {utterance.split("_")[0] for utterance in seen} == {
        "fleurs",
        "commonvoice",
        "voxlingua107",
    }
    assert json.loads((tmp_path / "out/results.json").read_text())
