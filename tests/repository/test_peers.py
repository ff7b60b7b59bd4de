"""Others' encoders on the trials of a study: benchmarks/peers.py, with peers of the test's own."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from few_people import few_people

from benchmarks import peers
from data_prep.people_prepare import prepare_people
from masr_modules.metrics.tables import CORPORA_COLUMNS, column_title
from masr_modules.reporting import study
from masr_modules.reporting.pretrain_record import load_labels, pretrain_record

PEOPLE = peers.STUDIES["people"]


def comparison(experiment="people", *extra):
    yaml = peers.HPARAMS / f"{experiment}.yaml"
    return study.Comparison(peers.STUDIES, yaml, "best_rq", pretrain_record("none"), {}, extra)


def test_an_utterance_is_measured_without_its_padding():
    heard = []
    encode = peers.EachUtterance(lambda samples: heard.append(samples.tolist()) or np.zeros(3))
    wavs = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 0.0, 0.0]])
    (frames,), lens = encode(wavs, torch.tensor([1.0, 0.5]))
    assert heard == [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0]]
    assert frames.shape == (2, 1, 3) and lens.tolist() == [1, 1]


def test_what_a_peer_cannot_measure_is_zero_and_counted():
    encode = peers.EachUtterance(lambda samples: np.array([1.0, 6.0 + samples[0]]))
    (frames,), _ = encode(torch.tensor([[1.0], [float("nan")]]), torch.ones(2))
    assert frames[:, 0].tolist() == [[1.0, 7.0], [0.0, 0.0]] and encode.unmeasured == 1


def test_a_missing_package_says_what_to_install():
    with pytest.raises(SystemExit, match="pip install a_peer_that_is_not_there"):
        peers.import_peer("a_peer_that_is_not_there")


def test_resemblyzer_hears_all_of_an_utterance_without_voice(monkeypatch):
    package = SimpleNamespace(
        VoiceEncoder=lambda device, verbose: SimpleNamespace(embed_utterance=len),
        # Where samples are above 0 there is voice.
        preprocess_wav=lambda samples, source_sr: samples[samples > 0],
    )
    monkeypatch.setitem(sys.modules, "resemblyzer", package)
    measure = peers.resemblyzer(16000)
    assert measure(np.array([1.0, 0.0, 1.0])) == 2 and measure(np.zeros(3)) == 3


def test_egemaps_are_the_functionals_of_one_utterance(monkeypatch):
    frame = SimpleNamespace(to_numpy=lambda: np.array([[1.0, 2.0]]))
    package = SimpleNamespace(
        FeatureSet=SimpleNamespace(eGeMAPSv02="set"),
        FeatureLevel=SimpleNamespace(Functionals="level"),
        Smile=lambda *kind: SimpleNamespace(process_signal=lambda samples, rate: frame),
    )
    monkeypatch.setitem(sys.modules, "opensmile", package)
    assert peers.egemaps(16000)(np.zeros(3)).tolist() == [1.0, 2.0]


def test_the_rows_are_those_that_the_studies_know():
    assert tuple(row for row, _ in peers.PEERS.values()) == study.PEERS


def test_a_peer_is_known_by_what_is_measured_and_not_by_how_systems_are_trained():
    key = comparison().key("Resemblyzer")
    assert key == comparison("people", "--lr", "0.1", "--number_of_steps", "5").key("Resemblyzer")
    assert key == comparison("people_whisper").key("Resemblyzer")
    assert key != comparison("people", "--evaluated_per_speaker", "5").key("Resemblyzer")


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls the script on two corpora of two speakers; a peer of levels, which tell them."""
    rows = {}
    for i in range(16):
        corpus, speaker = ("commonvoice", "speechocean762")[i // 8], i // 4
        sf.write(tmp_path / f"{i}.wav", np.full(1600, 0.1 + 0.2 * speaker + 0.01 * i), 16000)
        rows[f"u{i}"] = {
            "wav": str(tmp_path / f"{i}.wav"),
            "duration": 0.1,
            "corpus": corpus,
            "speaker": f"s{speaker}",
            "gender": ("male", "female")[speaker % 2],
        }
    settings = {"sample_rate": 16000, "max_eval_seconds": 10.0}
    settings["questions"] = {"gender": ["commonvoice", "speechocean762"]}
    read, loaded = [], []
    monkeypatch.setattr(peers, "load_settings", lambda *args, **options: settings)
    monkeypatch.setattr(peers, "ROOT", tmp_path)

    def read_rows(given):
        read.append(given)
        return dict.fromkeys(("references", "valid", "test"), rows)

    def build(sample_rate):
        loaded.append(sample_rate)
        return lambda samples: np.array([samples.mean(), 1.0])

    monkeypatch.setattr(peers, "read_rows", read_rows)
    monkeypatch.setattr("masr_modules.metrics.by_corpus.LEAST_SPEAKERS", 1)
    monkeypatch.setattr(peers, "PEERS", {"egemaps": ("eGeMAPS", build)})

    def call(*arguments):
        command = ["peers.py", "--data_folder", "people", "--peers", "egemaps", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        peers.main()
        return read, loaded

    return call


def test_the_table_has_the_columns_that_a_peer_answers(call, capsys, tmp_path):
    page = tmp_path / "people.md"
    page.write_text("<!-- peers -->\n<!-- /peers -->\n")
    call("--readme", str(page))
    table = capsys.readouterr().out
    # Within a corpus the louder speaker is the other gender.
    assert table.splitlines()[0] == "| encoder | gender (%) |"
    assert table.splitlines()[2] == "| eGeMAPS | 100.0      |"
    assert table.strip() in page.read_text()
    assert not (tmp_path / PEOPLE.record).exists()


def test_what_is_recorded_is_a_row_of_the_study_and_not_measured_again(call, capsys, tmp_path):
    read, loaded = call("--record")
    first = capsys.readouterr().out
    path = tmp_path / PEOPLE.record
    found = comparison()
    found.record = pretrain_record(path)
    assert found.recorded("eGeMAPS", PEOPLE.seeds) == PEOPLE.seeds
    labels = load_labels(path.with_name("test_labels.csv"))
    assert [row["corpus"] for row in labels.values()] == 8 * ["commonvoice"] + 8 * [
        "speechocean762"
    ]
    assert [row["gender"] for row in found.metrics([], PEOPLE.seeds)["eGeMAPS"]] == 3 * [1.0]
    call("--record")
    assert capsys.readouterr().out == first
    assert loaded == [16000] and len(read) == 1


@pytest.mark.slow
def test_from_the_corpora_to_the_table(monkeypatch, tmp_path):
    prepare_people(str(few_people(tmp_path)), str(tmp_path / "csv"), num_workers=1)
    folders = {"data_folder": tmp_path, "csv_folder": tmp_path / "csv", "output_folder": tmp_path}
    monkeypatch.setattr("masr_modules.metrics.by_corpus.LEAST_SPEAKERS", 1)
    levels = ("eGeMAPS", lambda sample_rate: lambda samples: np.abs(samples[800:808]))
    monkeypatch.setattr(peers, "PEERS", {"egemaps": levels})
    overrides = {key: str(path) for key, path in folders.items()}
    table = peers.peers_table(["egemaps"], PEOPLE, overrides, record=False)
    titles = [cell.strip() for cell in table.splitlines()[0].split("|")[2:-1]]
    assert titles == [column_title(column) for column in CORPORA_COLUMNS[:-1]]  # less the loss
