"""HuBERT's k-means: from CSV to centroids, interrupted, repeated, and for a second iteration."""

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow

YAML = "pretrain_hubert.yaml"


@pytest.fixture
def call(kmeans, arguments, tmp_path):
    """Runs the recipe; the centroids' path."""

    def run(name="units.npz", **overrides):
        path = tmp_path / name
        kmeans.main(arguments(YAML, centroids=path, **overrides))
        return path

    return run


class Killed(Exception):
    """Stands for a kill between two batches."""


def test_from_csv_to_centroids(call, capsys):
    with np.load(call()) as file:
        assert file["centroids"].shape == (8, 39) and np.isfinite(file["centroids"]).all()
        assert str(file["features"]) == "mfcc"
    printed = capsys.readouterr().out
    assert "8 of 8 units in use" in printed and "% of their variance explained" in printed


def test_the_training_uses_them(call, pretrain, arguments, tmp_path):
    path = call()
    pretrain.main(arguments(YAML, centroids=path))
    state = torch.load(next((tmp_path / "out/save").glob("CKPT*/ssl.ckpt")), weights_only=True)
    assert np.array_equal(state["centroids"].numpy(), np.load(path)["centroids"])


def test_what_is_complete_is_not_repeated_unless_settings_change(call, kmeans, monkeypatch):
    path = call()
    first = np.load(path)["centroids"]
    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "cluster", lambda *_: pytest.fail("repeated"))
        call()
    call(kmeans_seed=1)
    assert not np.array_equal(first, np.load(path)["centroids"])


def test_a_killed_run_resumes_to_the_same_centroids(call, kmeans, monkeypatch, tmp_path):
    expected = np.load(call("whole.npz"))["centroids"]
    choose, seen = kmeans.choose_frames, []

    def dying(*arguments):
        if len(seen) == 2:
            raise Killed
        seen.append(arguments)
        return choose(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(kmeans, "choose_frames", dying)
        with pytest.raises(Killed):
            call("killed.npz")
    assert len(list((tmp_path / "killed.frames").glob("*.npy"))) == 2
    resumed = []
    monkeypatch.setattr(kmeans, "choose_frames", lambda *a: resumed.append(a) or choose(*a))
    assert np.array_equal(np.load(call("killed.npz"))["centroids"], expected)
    assert not {utterance for a in seen for utterance in a[2]} & {u for a in resumed for u in a[2]}
    assert not (tmp_path / "killed.frames").exists()


def test_more_units_than_frames(call):
    with pytest.raises(ValueError, match="frames cannot give 50 units: lower num_units"):
        call(num_units=50, kmeans_frames=20)


def test_the_second_iteration_clusters_a_layer(call, pretrain, arguments, tmp_path):
    pretrain.main(arguments(YAML, centroids=call()))
    checkpoint = next((tmp_path / "out/save").glob("CKPT*"))
    second = {"teacher_checkpoint": checkpoint, "teacher_layer": 1}
    path = call("units2.npz", **second)
    assert np.load(path)["centroids"].shape == (8, 16)
    pretrain.main(arguments(YAML, centroids=path, output_folder=tmp_path / "out2", **second))
