"""The report on an experiment's knowledge, on small corpora written out."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, load_recipe, placeholders
from hyperpyyaml import load_hyperpyyaml
from matplotlib.image import imread

from masr_modules.config.settings import load_settings
from masr_modules.data.metadata import Metadata
from masr_modules.knowledge import (
    Categorical,
    Geographic,
    LanguageDistance,
    Numeric,
    SetOverlap,
    TableSource,
    build_sources,
    source_settings,
)
from masr_modules.reporting import knowledge_report as report_module
from masr_modules.reporting.heat_map import save_heat_map
from masr_modules.reporting.knowledge_report import SETTINGS, pair_statistics

main = load_recipe("pretrain/knowledge_report").main

YAML = """
seed: 1
data_folder: !PLACEHOLDER
batch_identity: language
scale: 10.0
knowledge:
    - !name:masr_modules.knowledge.Geographic
        column: language
    - !name:masr_modules.knowledge.Numeric
        column: year
        length_scale: !ref <scale>
        weight: 0.5
max_crop_seconds: 2.0
max_batch_seconds: 12.0
utterances_per_identity: 2
num_buckets: 1
encoder: !new:no.such.module.Encoder
    sources: !ref <knowledge>
"""

CSV = "ID,duration,wav,language,speaker,year\n" + "".join(
    f"u{i},3.0,{i}.wav,{language},s{i},{year}\n"
    for i, (language, year) in enumerate(
        [("swe", 1990), ("swe", ""), ("nob", 2000), ("nob", ""), ("", 2010), ("tam", 2010)]
    )
)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "experiment.yaml").write_text(YAML)
    (tmp_path / "train.csv").write_text(CSV)
    return [str(tmp_path / name) for name in ("experiment.yaml", "train.csv")]


# Settings


def test_nothing_else_of_the_experiment_is_built(files):
    settings = load_settings(files[0], {"data_folder": "/corpus"}, SETTINGS)
    assert settings["data_folder"] == "/corpus" and settings["batch_identity"] == "language"
    assert [str(source_settings(source)) for source in settings["knowledge"]] == [
        "Geographic on 'language'",
        "Numeric on 'year'",
    ]
    assert "encoder" not in settings


def test_an_override_reaches_the_sources(files):
    settings = load_settings(files[0], {"data_folder": "/corpus", "scale": 3.0}, SETTINGS)
    assert settings["knowledge"][1].keywords["length_scale"] == 3.0


def test_an_override_of_nothing_is_an_error(files):
    with pytest.raises(KeyError, match="max_batch_second"):
        load_settings(files[0], {"data_folder": "/corpus", "max_batch_second": 3.0})


def test_a_column_that_only_candidates_need_has_to_be_there(files, tmp_path):
    with open(files[0], "a") as file:
        file.write(
            "prototypes: !name:masr_modules.pairwise.prototypes.Prototypes\n"
            "    candidates_by: [gender]\n"
        )
    with pytest.raises(ValueError, match="metadata column 'gender'"):
        main([*files, "--data_folder", "/corpus", "--output", str(tmp_path)])


def test_an_experiment_without_knowledge_is_an_error(tmp_path):
    (tmp_path / "plain.yaml").write_text("seed: 1\nlr: 1\n")
    with pytest.raises(ValueError, match="plain.yaml: no top-level key knowledge, batch_identity"):
        load_settings(tmp_path / "plain.yaml", only=SETTINGS)


EXPERIMENTS = [ROOT / "hparams/masr.yaml", *sorted((ROOT / "hparams").glob("pretrain_*.yaml"))]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_experiment_can_be_reported(path):
    folders = dict.fromkeys(placeholders(path.name), "/corpus")
    assert load_settings(path, folders, SETTINGS)["knowledge"]


@pytest.mark.parametrize("document", ["README.md", "docs/metadata.md"])
def test_the_sources_of_the_documents_can_be_pasted(document, tmp_path, monkeypatch):
    text = (ROOT / document).read_text(encoding="utf-8")
    block = re.search(r"^ *knowledge:(?: #.*)?\n((?: +- .*\n)+)", text, re.M)[1]
    monkeypatch.chdir(tmp_path)
    Path("my").mkdir()
    Path("my/accents.csv").write_text(",valencian\nvalencian,1\n")
    entries = load_hyperpyyaml("knowledge:\n" + block)["knowledge"]
    assert len(entries) == block.count("!name:")
    cells = {"speaker": "a", "language": "cat", "region": "ES", "age": "7", "topics": "news|sports"}
    cells |= {"accent": "valencian", "gender": "female"}
    metadata = Metadata.from_columns({name: [cell] for name, cell in cells.items()})
    sources = build_sources(entries, metadata)
    kinds = {Categorical, LanguageDistance, Numeric}
    if document != "README.md":
        kinds |= {Geographic, SetOverlap, TableSource}
    assert {type(source) for source in sources} == kinds


# Statistics


def test_pairs_are_counted_once_and_only_where_known():
    metadata = Metadata.from_columns(
        {"language": ["fra", "fra", "deu", ""], "speaker": ["a", "a", "a", "b"]}
    )
    found = pair_statistics([Categorical("speaker")], metadata, "language", seed=0)
    assert found.pairs == 6
    assert found.known.tolist() == [1, 1]
    assert found.within[0] == 1.0  # the one pair in French
    assert found.across[0] == 1.0  # both French with German


def test_correlation_is_pearsons_over_the_pairs_known_to_both():
    generator = np.random.default_rng(0)
    years = generator.integers(1990, 2010, 30).astype(float)
    ages = years - 1950 + generator.normal(0, 3, 30)
    ages[[3, 7]] = np.nan
    cells = {
        "year": [f"{y:g}" for y in years],
        "age": ["" if np.isnan(a) else f"{a:.6f}" for a in ages],
        "language": ["fra"] * 30,
    }
    metadata = Metadata.from_columns(cells, numeric=["year"])
    found = pair_statistics([Numeric("year", 5.0), Numeric("age", 5.0)], metadata, "language", 0)
    first, second = np.triu_indices(30, 1)
    both = ~np.isnan(ages[first] - ages[second])
    s = [np.exp(-((v[first] - v[second])[both] ** 2) / 50) for v in (years, ages)]
    assert found.known[:2] == pytest.approx([1, 28 * 27 / 2 / (30 * 29 / 2)])
    assert found.correlation[0, 1] == pytest.approx(np.corrcoef(*s)[0, 1], abs=1e-5)


def test_a_source_that_says_the_same_of_all_pairs_has_no_correlation():
    metadata = Metadata.from_columns({"language": ["fra", "deu", "ita"], "speaker": ["a"] * 3})
    found = pair_statistics([Categorical("speaker")], metadata, "language", seed=0)
    assert np.isnan(found.correlation).all()


def test_pairs_of_a_large_corpus_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(report_module, "_DRAW", 5)
    monkeypatch.setattr(report_module, "_DRAWS", 2)
    metadata = Metadata.from_columns(
        {"language": ["fra", "deu"] * 10, "speaker": [f"s{i % 3}" for i in range(20)]}
    )
    draws = [
        pair_statistics([Categorical("speaker")], metadata, "language", seed) for seed in (0, 0, 1)
    ]
    assert [found.pairs for found in draws] == [20, 20, 20]  # twice the pairs of five
    assert draws[0].across[0] == draws[1].across[0] != draws[2].across[0]


# The whole


def test_the_report_of_a_small_corpus(files, tmp_path, capsys):
    out = tmp_path / "out"
    main([*files, "--output", str(out), "--data_folder", "/corpus"])
    printed = capsys.readouterr().out
    assert printed == (out / "report.md").read_text()
    assert "6 utterances, 83.3% with a language: 3 different. Pairs looked at: all 15." in printed
    # 5 of 6 have a language and 10 of 15 pairs; 4 have a year, 6 of 15 pairs.
    assert "| 1 Geographic on 'language' | 1      | 83.3                 | 66.7 " in printed
    assert "| 2 Numeric on 'year'        | 0.5    | 66.7                 | 40.0 " in printed
    # 12 s hold all six, cropped to 2 s. Both Swedes and both Norwegians are anchors; the Tamil
    # has no positive.
    assert "A batch has 6.0 utterances of 3.0 identities, and 4.0 anchors" in printed
    assert imread(out / "similarity.png").shape[2] == 4


def test_each_identity_shows_what_acts_and_its_hardest_pairs(tmp_path, capsys):
    cells = [("swe", "a"), ("swe", "b"), ("nob", "a"), ("nob", "c"), ("tam", "b"), ("tam", "d")]
    rows = [f"u{i},3.0,{i}.wav,{language},{speaker}" for i, (language, speaker) in enumerate(cells)]
    (tmp_path / "train.csv").write_text("\n".join(["ID,duration,wav,language,speaker", *rows]))
    text = YAML.replace("column: year", "column: speaker").replace("Numeric", "Categorical")
    text = text.replace("        length_scale: !ref <scale>\n", "")
    text += "identities: {language: 1.0, speaker: 0.5}\npair_weight: 0.5\n"
    text += "prototypes: !name:masr_modules.pairwise.prototypes.Prototypes {candidates_by: []}\n"
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(text)
    options = ["--output", str(tmp_path / "out"), "--data_folder", "/corpus"]
    main([str(experiment), str(tmp_path / "train.csv"), *options])
    _, language, speaker = capsys.readouterr().out.split("## In the space of ")
    assert "Prototypes are compared by Geographic on 'language', as far" in language
    mined = "mined by Geographic on 'language', Categorical on 'speaker', with weight 0.5"
    assert mined in language and "100.0% of the utterances" in language
    # Norwegian is near Swedish, and the speaker is the same; the positive is another speaker.
    assert re.search(r"\| u0 \(swe, a\) +\| u1 \(swe, b\) .* \| u2 \(nob, a\)", language)
    assert "66.7% of the utterances" in speaker  # c and d speak once
    main([str(experiment), str(tmp_path / "train.csv"), *options, "--pair_weight", "0"])
    assert "Pairs of utterances are not mined: pair_weight is 0." in capsys.readouterr().out


def test_the_fractions_with_a_hard_pair_are_shown_of_all_corpora_of_the_yaml(tmp_path, capsys):
    cells = [("joy", "a"), ("fear", "a"), ("joy", "b"), ("", "b")]
    for corpus, part in (("one", cells[:2]), ("two", cells[2:])):
        lines = [f"{corpus}{i},3.0,{i}.wav,{','.join(row)},swe" for i, row in enumerate(part)]
        text = "\n".join(["ID,duration,wav,emotion,speaker,language", *lines])
        (tmp_path / f"{corpus}.csv").write_text(text)
    corpora = [f"{{csv: {tmp_path}/{name}.csv, data_root: /{name}}}" for name in ("one", "two")]
    experiment = tmp_path / "experiment.yaml"
    text = YAML.replace("Numeric", "Categorical").replace("column: year", "column: speaker")
    text = text.replace("        length_scale: !ref <scale>\n", "")
    experiment.write_text(f"{text}hard_pairs: {{}}\ntrain_csv: [{', '.join(corpora)}]\n")
    call = [str(experiment), "train_csv", "--output", str(tmp_path / "out"), "--data_folder", "/c"]
    main(call)
    assert "Hard pairs" not in capsys.readouterr().out
    main([*call, "--hard_pairs", "{emotion: [speaker]}"])
    shown = " ".join(capsys.readouterr().out.split("## Hard pairs in batches")[1].split())
    # Three of four emotions are known. Two speakers are happy; one is also afraid.
    assert "| emotion | speaker | 75.0 | 66.7 | 66.7 | 33.3 | 33.3 |" in shown


def test_a_missing_file_is_named(files, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([files[0], str(tmp_path / "none.csv")])
    assert "none.csv: no such file" in capsys.readouterr().err


def test_no_picture_where_no_source_grades_the_labels(tmp_path):
    metadata = Metadata.from_columns({"language": ["swe", ""]})
    path = tmp_path / "similarity.png"
    assert not save_heat_map([Categorical("language")], "language", metadata, path)
    assert not path.exists()


def test_no_picture_where_no_label_is_known(tmp_path):
    metadata = Metadata.from_columns({"language": ["", ""]})
    sources = [LanguageDistance(kinds="genetic", metadata=metadata)]
    assert not save_heat_map(sources, "language", metadata, tmp_path / "similarity.png")
