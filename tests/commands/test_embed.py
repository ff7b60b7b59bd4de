"""`masr embed`, on tones and an encoder of one layer."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from masr_modules.commands.main import main
from masr_modules.data.dataio import read_audio
from masr_modules.distributed import JointBatch
from masr_modules.encoders import StatisticsPooling
from masr_modules.encoders.pretrained import build_encoder, describe_encoder
from masr_modules.heads import Projection, Spaces
from masr_modules.heads.spaces import Space
from masr_modules.inference import MASREncoder

DESCRIPTION = """
sample_rate: 16000
encoder: !new:masr_modules.encoders.SpeechEncoder
    features: !new:masr_modules.encoders.LogMel {sample_rate: 16000, n_mels: 40}
    front_end: !new:masr_modules.encoders.ConvFrontEnd
        {input_size: 40, d_model: 8, kernel_sizes: [7], strides: [4]}
    num_layers: 1
    d_model: 8
    d_ffn: 8
    nhead: 2
"""


@pytest.fixture
def encoder(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    description = describe_encoder(DESCRIPTION)
    torch.manual_seed(0)
    network = build_encoder(description)["encoder"]
    (folder / "hyperparams.yaml").write_text(description)
    torch.save(network.state_dict(), folder / "encoder.ckpt")
    return str(folder)


@pytest.fixture
def files(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    soundfile.write(tmp_path / "b.flac", noise[:6000], 8000)
    return [str(tmp_path / name) for name in ("a.wav", "b.flac")]


def test_embeddings_are_those_of_the_encoder(encoder, files, tmp_path, capsys):
    path = str(tmp_path / "new/e.npz")
    assert main(["embed", *files, "--encoder", encoder, "--output", path]) == 0
    assert capsys.readouterr().out == f"{path}: 2 embeddings of 8 numbers\n"
    expected = [MASREncoder.from_hparams(encoder).embed_file(file) for file in files]
    with np.load(path) as found:  # no pickles
        assert found["files"].tolist() == files and found["embeddings"].dtype == np.float32
        assert torch.equal(torch.from_numpy(found["embeddings"]), torch.stack(expected))


def test_a_csv_holds_the_same_of_another_layer(encoder, files, tmp_path):
    path = tmp_path / "e.csv"
    arguments = ["--encoder", encoder, "--output", str(path), "--layer", "0"]
    assert main(["embed", *arguments, *files]) == 0
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [row["file"] for row in rows] == files
    expected = MASREncoder.from_hparams(encoder).embed_file(files[1], layer=0)
    found = [np.float32(rows[1][str(i)]) for i in range(8)]
    assert found == expected.tolist()


def test_what_cannot_be_read_is_named_and_left_out(encoder, files, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no audio")
    whole = Path(files[0]).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    broken = [str(tmp_path / name) for name in ("text.wav", "cut.wav", "gone.wav")]
    path = str(tmp_path / "e.npz")
    assert main(["embed", *broken, *files, "--encoder", encoder, "--output", path]) == 1
    printed = capsys.readouterr()
    reasons = ("unreadable", "truncated", "no such file")
    for line, file, reason in zip(printed.err.splitlines(), broken, reasons, strict=True):
        assert line.startswith(f"{file}: cannot be decoded: {reason}")
    assert printed.out.endswith("2 embeddings of 8 numbers; 3 could not be read\n")
    assert np.load(path)["files"].tolist() == files


def test_nothing_is_written_where_nothing_can_be_read(encoder, tmp_path, capsys):
    path = tmp_path / "e.npz"
    assert main(["embed", "/gone.wav", "--encoder", encoder, "--output", str(path)]) == 1
    assert capsys.readouterr().err.endswith(
        "masr embed: no file could be read: nothing is written\n"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    "change, said",
    [
        (["--encoder", "/nowhere/encoder"], "/nowhere/encoder: no such folder"),
        (["--layer", "2"], "--layer 2: "),
        (["--device", "abacus"], "--device abacus: "),
    ],
)
def test_an_error_says_what_is_wrong(encoder, files, tmp_path, capsys, change, said):
    output = ["--output", str(tmp_path / "e.npz")]
    assert main(["embed", *files, "--encoder", encoder, *output, *change]) == 1
    assert f"masr embed: {said}" in capsys.readouterr().err
    assert not (tmp_path / "e.npz").exists()


def test_another_ending_is_refused_before_anything_is_loaded(files, capsys):
    with pytest.raises(SystemExit):
        main(["embed", *files, "--encoder", "/nowhere", "--output", "e.txt"])
    assert "e.txt: its name must end with .npz or .csv" in capsys.readouterr().err


def test_a_space_of_the_head_takes_the_place_of_a_layer(encoder, files, tmp_path, capsys):
    projection = Projection(16, 4, layers=[0, 1])  # means and deviations of both layers
    torch.save(Spaces({"speaker": Space.of(projection)}).state_dict(), f"{encoder}/spaces.ckpt")
    path = str(tmp_path / "e.npz")
    assert (
        main(["embed", *files, "--encoder", encoder, "--output", path, "--space", "speaker"]) == 0
    )
    assert capsys.readouterr().out == f"{path}: 2 embeddings of 4 numbers\n"
    masr = MASREncoder.from_hparams(encoder)
    wav = read_audio(files[0], 16000, max_seconds=None, seed=0)
    pooled = [StatisticsPooling()(*masr.encode_batch(wav, layer=i)) for i in (0, 1)]
    expected = projection.eval()(torch.stack(pooled, dim=1), JointBatch(1))[0]
    with np.load(path) as found:
        torch.testing.assert_close(torch.from_numpy(found["embeddings"][0]), expected.detach())
    state = torch.load(f"{encoder}/spaces.ckpt", weights_only=True)
    torch.save(state | {"speaker.layers": torch.tensor([0, 9])}, f"{encoder}/spaces.ckpt")
    assert main(["embed", *files, "--encoder", encoder, "--space", "speaker"]) == 1
    assert "--space speaker: " in (printed := capsys.readouterr().err) and "lacks" in printed
    assert main(["embed", *files, "--encoder", encoder, "--space", "age"]) == 1
    assert "no space 'age'; its spaces: speaker" in capsys.readouterr().err
