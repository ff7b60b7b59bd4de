"""HuBERT as published: its units, its loss, its folder."""

import pytest
import torch
import torch.nn.functional as F
import torchaudio
from published_models import HUBERT, save_as_published, theirs
from small_models import small_published, speech
from transformers import AutoModel

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers
from masr_modules.objectives.hubert_published import PublishedHubert
from masr_modules.objectives.units import KaldiMfcc, LayerFrames, Mfcc, unit_features


def test_mfcc_are_those_of_the_published_recipe_whatever_the_padding():
    wavs, lens = speech(12345, 24000, 300)
    features, counts = KaldiMfcc()(wavs, lens)
    static = torchaudio.compliance.kaldi.mfcc(
        wavs[:1, :12345], sample_frequency=16000, use_energy=False
    ).T
    first = torchaudio.functional.compute_deltas(static)
    second = torchaudio.functional.compute_deltas(first)
    expected = torch.cat([static, first, second]).T
    assert counts.tolist() == [len(expected), 148, 0]
    torch.testing.assert_close(features[0, : counts[0]], expected)
    assert not features[0, counts[0] :].any() and not features[2].any()


@pytest.mark.parametrize("samples", (400, 719, 720, 16000, 16159, 16160, 40000))
def test_each_frame_has_the_mfcc_that_begin_with_it(samples):
    """A frame hears 400 samples each 320, and MFCC 400 each 160: of frame t, they are 2 t's."""
    encoder = HuggingFaceEncoder(config=HUBERT)
    wavs, lens = speech(samples)
    frames = encoder.prepare(wavs, lens).num_frames
    assert KaldiMfcc()(wavs, lens)[0][:, ::2].shape[1] >= frames


def test_the_loss_is_the_cross_entropy_of_every_second_unit_and_ten_penalties():
    ssl = small_published("hubert").eval()
    wavs, lens = speech(32000, 24000)
    out = ssl(wavs, lens, [1, 2])
    features = KaldiMfcc()(wavs, lens)[0]
    logits, targets = [], []
    for row, frame in out.frame_mask.nonzero().tolist():
        distances = (ssl.centroids - features[row, 2 * frame]).square().sum(dim=1)
        targets.append(distances.argmin())
        projected = ssl.projection(out.frames[row, frame])
        logits.append(F.cosine_similarity(projected, ssl.units, dim=-1) / 0.1)
    expected = F.cross_entropy(torch.stack(logits), torch.stack(targets))
    expected = expected + 10 * out.stats["feature_penalty"]
    torch.testing.assert_close(out.loss, expected, rtol=1e-6, atol=1e-6)
    assert len({int(target) for target in targets}) > 1 and out.stats["feature_penalty"] > 0


def test_as_much_is_masked_as_the_published_recipe_masks():
    ssl = small_published("hubert")
    out = ssl(*speech(160000), [1])
    assert ssl.mask_prob == 0.8 and 0.45 < out.frame_mask.float().mean() < 0.65


def test_units_of_the_second_iteration_are_of_a_layer_of_the_first(tmp_path):
    first = small_published("hubert").eval()
    torch.save(first.state_dict(), tmp_path / "ssl.ckpt")
    encoder = HuggingFaceEncoder(config=HUBERT)
    features = unit_features(encoder, str(tmp_path), layer=2, published=True)
    second = PublishedHubert(encoder, features, "unused.npz", 8)
    assert isinstance(features, LayerFrames) and second.ratio == 1
    wavs, lens = speech(16000, 12000)
    torch.testing.assert_close(features(wavs, lens)[0], first.encode(wavs, lens)[0][2])


def test_units_that_fit_no_frame_are_refused():
    encoder = HuggingFaceEncoder(config=HUBERT)
    with pytest.raises(ValueError, match="320 samples apart, which is not a multiple of the 640"):
        PublishedHubert(encoder, Mfcc(640), "unused.npz")


def test_folders_go_both_ways(tmp_path):
    model = theirs(HUBERT)
    (tmp_path / "theirs").mkdir()
    source = save_as_published(model, tmp_path / "theirs")
    encoder = HuggingFaceEncoder(source, config=HUBERT)
    save_transformers(encoder, tmp_path / "ours")
    loaded, info = AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())
    with pytest.raises(ValueError, match="a 'hubert' model has no pretraining head"):
        HuggingFaceEncoder(config=HUBERT, pretraining_head=True)
