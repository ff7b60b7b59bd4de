"""The analysis from checkpoints to tables, pictures and page, on tones instead of speech."""

import json
import re

import numpy as np
import pytest
import soundfile
from conftest import load_recipe
from encoder_analysis import embeddings
from run_folder import make_run

from masr_modules.encoders.pretrained import export_encoder

pytestmark = pytest.mark.slow

recipe = load_recipe("analysis/analyse")
LANGUAGES = ["spa", "por", "swe", "tam"]
SPLITS = ("labelled", "valid", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Each language is a tone; of the test set one row has no language and one file is broken."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "csv").mkdir()
    time = np.arange(9600) / 16000
    for split in SPLITS:
        lines = ["ID,duration,wav,language,speaker,gender"]
        for i, language in enumerate(LANGUAGES * 5):
            name = f"{split}_{i}"
            tone = np.sin(2 * np.pi * 300 * (1 + i % 4) * time + i) / 4
            soundfile.write(folder / f"{name}.wav", tone, 16000)
            lines.append(f"{name},0.6,$data_root/{name}.wav,{language},s{i % 3},{'fm'[i % 2]}")
        if split == "test":
            (folder / "broken.wav").write_bytes(b"RIFF")
            lines += ["broken,0.6,$data_root/broken.wav,spa,s0,f"]
            lines += ["nobody,0.6,$data_root/test_0.wav,,s0,f", "odd,0.6,x.wav,qqq,s0,f"]
        (folder / f"csv/{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two of random weights; both say that they are MASR."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    for folder in folders:
        make_run(folder)
        export_encoder(folder, {"system": "MASR"}, "card")
    return [str(folder) for folder in folders]


@pytest.fixture(scope="module")
def output(corpus, checkpoints, tmp_path_factory):
    """What an analysis of one checkpoint against the other wrote."""
    folder = tmp_path_factory.mktemp("output")
    recipe.main(arguments(corpus, checkpoints[0], folder, "--against", checkpoints[1]))
    return folder


def arguments(corpus, checkpoint, folder, *more):
    fast = ("--permutations", "99", "--clips", "8", "--points", "12")
    return [checkpoint, str(corpus / "csv/test.csv"), "--output_folder", str(folder), *fast, *more]


def test_everything_is_written(output):
    found = json.loads((output / "analysis.json").read_text())
    assert found["utterances"] == 20
    assert found["left_out"] == {
        "no language": 1,
        "unknown language code": 1,
        "unreadable audio": 1,
    }
    assert list(found["systems"]) == ["MASR", "MASR (2)"]
    # A tone is told by its spectrum, whatever the weights.
    assert found["systems"]["MASR"]["accuracy"] == 1.0
    assert re.search(r"\| MASR \(2\) +\| genetic ", (output / "analysis.md").read_text())
    pictures = {"confusion", "distances", "trees", "map"}
    pictures |= {f"{name}_against" for name in pictures - {"confusion"}}
    there = {path.name for path in output.iterdir() if path.suffix in (".png", ".svg")}
    assert there == {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")}


def test_the_page_has_clips_and_no_path_of_this_machine(output, corpus):
    text = (output / "map.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert len(data["points"]) == 12 and len(data["clips"]) == 8
    assert str(corpus) not in text and "test_0.wav" in text


def test_nothing_is_embedded_twice(output, corpus, checkpoints, monkeypatch, capsys):
    def embed(*_, **__):
        raise AssertionError("embedded again")

    monkeypatch.setattr(embeddings, "embed", embed)
    readme = output / "README.md"
    readme.write_text("# Ours\n<!-- analysis -->\n<!-- /analysis -->\n")
    more = ("--layer", "0", "--probe", "linear", "--readme", str(readme))
    recipe.main(arguments(corpus, checkpoints[0], output, *more))
    assert "### Trees\n" in readme.read_text()
    assert "1 unreadable audio" in capsys.readouterr().out
    soundfile.write(corpus / "test_3.wav", np.zeros(9600), 16000)
    with pytest.raises(AssertionError, match="embedded again"):
        recipe.main(arguments(corpus, checkpoints[0], output))


def test_a_missing_file_is_named(corpus, checkpoints, tmp_path, capsys):
    with pytest.raises(SystemExit):
        recipe.main([checkpoints[0], str(tmp_path / "test.csv")])
    assert "test.csv: no such file; give another --csv" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipe.main([checkpoints[0], str(corpus / "csv/test.csv"), "--valid", "none.csv"])
    assert "none.csv: no such file; give another --valid" in capsys.readouterr().err


def test_without_a_checkpoint_nothing_is_written(corpus, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="holds no encoder"):
        recipe.main(arguments(corpus, str(tmp_path), out))
    assert not out.exists()
