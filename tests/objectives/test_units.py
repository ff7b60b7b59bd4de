"""HuBERT's units: padding, alignment, centroids from a file, a teacher's layer."""

import numpy as np
import pytest
import torch
from small_models import SPAN, small_encoder, speech

from masr_modules.objectives.best_rq import BestRQ
from masr_modules.objectives.hubert import Hubert
from masr_modules.objectives.units import LayerFrames, Mfcc, nearest, unit_features


def test_units_of_an_utterance_do_not_depend_on_padding():
    wavs, lens = speech(12345, 24000)
    mfcc = Mfcc(640)
    padded, padded_lens = mfcc(wavs, lens)
    alone, alone_lens = mfcc(wavs[:1, :12345], torch.ones(1))
    assert padded_lens[0] == alone_lens[0] == alone.shape[1]
    torch.testing.assert_close(padded[:1, : alone_lens[0]], alone, atol=1e-3, rtol=1e-4)


def test_a_frame_is_the_mean_of_the_mfcc_under_it():
    wavs, lens = speech(16000)
    fine, _ = Mfcc(160)(wavs, lens)  # 101 frames of 10 ms
    coarse, _ = Mfcc(640)(wavs, lens)
    torch.testing.assert_close(coarse[0, 3], fine[0, 12:16].mean(dim=0), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(coarse[0, 25], fine[0, 100])  # one is left for the last


def test_the_nearest_centroid_is_by_distance():
    torch.manual_seed(0)
    x, centroids = torch.randn(50, 6), 3 * torch.randn(9, 6)
    assert torch.equal(nearest(x, centroids), torch.cdist(x, centroids).argmin(dim=1))


def test_frames_no_multiple_of_10_ms_apart():
    with pytest.raises(ValueError, match="250 samples apart, which is not a multiple of 10 ms"):
        Mfcc(250)


def write_centroids(path, shape=(8, 39), features="mfcc"):
    np.savez(path, centroids=np.random.default_rng(0).normal(size=shape), features=features)
    return path


def hubert(path):
    encoder = small_encoder()
    return Hubert(encoder, unit_features(encoder), path, 8, 16, mask_span=SPAN)


def test_centroids_may_come_after_the_objective_but_before_the_first_pass(tmp_path):
    ssl = hubert(tmp_path / "units.npz")
    with pytest.raises(FileNotFoundError, match="no centroids at .*units.npz.*kmeans.py"):
        ssl(*speech(16000))
    write_centroids(tmp_path / "units.npz")
    assert torch.isfinite(ssl(*speech(16000)).loss)


@pytest.mark.parametrize("other", ({"shape": (9, 39)}, {"features": "layer 1 of x"}))
def test_centroids_of_other_units_are_refused(other, tmp_path):
    path = write_centroids(tmp_path / "units.npz", **other)
    with pytest.raises(ValueError, match=r"units.npz: holds .* asks for \(8, 39\) of 'mfcc'"):
        hubert(path)(*speech(16000))


def test_a_file_that_holds_no_centroids(tmp_path):
    (tmp_path / "units.npz").write_text("nothing")
    with pytest.raises(ValueError, match="units.npz: is not a file of centroids"):
        hubert(tmp_path / "units.npz")(*speech(16000))


def test_the_second_iteration_clusters_a_layer_of_a_trained_model(tmp_path):
    trained = BestRQ(small_encoder(), codebook_size=8).eval()
    torch.save(trained.state_dict(), tmp_path / "ssl.ckpt")
    features = unit_features(small_encoder(), tmp_path, layer=1)
    expected = trained.encode(*speech(16000))[0][1]
    assert torch.equal(features.train()(*speech(16000))[0], expected)
    assert not any(p.requires_grad for p in features.parameters())


def test_a_teacher_that_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="teacher_checkpoint .*none"):
        LayerFrames(small_encoder(), tmp_path / "none", 1)
    torch.save(BestRQ(small_encoder(num_layers=1)).state_dict(), tmp_path / "ssl.ckpt")
    with pytest.raises(ValueError, match="ssl.ckpt: its encoder is not of this YAML's shape"):
        LayerFrames(small_encoder(), tmp_path, 1)
    with pytest.raises(ValueError, match="teacher_layer is 3: choose 0 to num_layers, 2"):
        LayerFrames(small_encoder(), tmp_path, 3)
