"""Tables and pictures: the repository's are those of the record."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import product

import pytest
from conftest import ROOT, load_recipe
from pictures import picture_differences

from masr_modules.data.corpus import load_csv
from masr_modules.downstream.tables import blocks as task_blocks
from masr_modules.downstream.tables import downstream_record
from masr_modules.downstream.task import find_tasks
from masr_modules.metrics.plots import STYLES, Panel, draw_curves, save_figure
from masr_modules.reporting.pretrain_record import (
    UTTERANCE_EMBEDDING,
    PretrainRun,
    extra_columns,
    load_labels,
    pretrain_record,
    save_labels,
)
from masr_modules.reporting.study import BASELINES, Comparison, Studies

pytestmark = pytest.mark.slow

TABLES = load_recipe("study/tables")
STUDIES = TABLES.STUDIES
FILES = sorted({file for study in STUDIES.values() for file in study.files})
PICTURES = [
    picture["file"]
    for study in STUDIES.values()
    for picture in (study.picture, study.languages)
    if picture
]


@pytest.fixture(scope="module")
def comparisons():
    return TABLES.read_record()


def blocks(text, start="pretrain-"):
    """Name -> what stands between its marks."""
    return dict(re.findall(rf"<!-- ({start}[\w-]+) -->\n(.*?)<!-- /\1 -->", text, re.S))


def test_recorded_runs_have_the_fingerprints_of_their_arms(comparisons):
    recorded = {(run.ssl, run.settings, run.system) for run in comparisons["best_rq"].record.runs}
    assert len(recorded) >= 12
    for ssl, key, row in recorded:
        arm = row.removesuffix(UTTERANCE_EMBEDDING)
        assert arm in (*STUDIES.arms, *BASELINES) and comparisons[ssl].key(row) == key, row


def test_tables_and_pictures_are_those_of_the_record(comparisons, tmp_path):
    record = downstream_record(TABLES.DOWNSTREAM)
    tasks = task_blocks(record, list(find_tasks(ROOT / "recipes").values()))
    assert ("asr", "debian-asr-results") in tasks
    written = {block for _, block in tasks} | {TABLES.INDEX_BLOCK}
    files = {
        *FILES,
        STUDIES.summary["file"],
        TABLES.INDEX_PAGE,
        *TABLES.TASK_PAGES.values(),
        *(f"recipes/{folder}/README.md" for folder, _ in tasks),
    }
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / file).read_text(encoding="utf-8")
        for name, block in blocks(text, "").items():
            ours = name in (*written, "summary") or (
                name.startswith("pretrain-") and name != "pretrain-run"
            )
            if ours and block:
                text = text.replace(block, "| typed |\n")
        (tmp_path / file).write_text(text, encoding="utf-8")
    TABLES.rebuild(tmp_path, comparisons)
    for file in files:
        assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes(), f"{file}: make tables"
    for file in PICTURES:
        assert picture_differences(tmp_path / file, ROOT / file) == [], f"{file}: make tables"


def section(text, anchor):
    """What stands under the heading with this anchor, up to the next heading."""
    for part in re.split(r"^#+ ", text, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        if re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") == anchor:
            return body
    raise AssertionError(f"no heading has the anchor #{anchor}")


def test_each_claim_of_the_readme_stands_in_a_table_where_its_link_leads():
    claimed, text = r"[-+\d.]+ \[[-+\d., ]+\]", (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"<!-- summary -->.*?<!-- /summary -->", "", text, flags=re.S)
    shown = text.split("\n## What it gains")[1].split("\n## ")[0]
    statements = re.split(r"^- ", shown, flags=re.M)[1:]
    assert len(statements) >= 12
    assert len(re.findall(claimed, text)) == len(statements)  # none stands elsewhere
    for statement in statements:
        (claim,) = re.findall(claimed, statement)
        ((file, anchor),) = re.findall(r"\]\(([\w/]+\.md)#([\w-]+)\)", statement)
        there = section((ROOT / file).read_text("utf-8"), anchor)
        tables = "".join(blocks(there).values()).replace("+", "")
        assert f" {claim.replace('+', '')} " in tables, statement


INTERVAL = r"[-+]?\d+\.\d\s+\[[-+\d.]+,\s+[-+\d.]+\]"


def numbers(claim):
    """Mean and bounds of a difference, which is the same in the other direction."""
    mean, *bounds = map(float, re.findall(r"[-+]?\d+\.\d", claim))
    return tuple(sorted([(mean, *bounds), (-mean, -bounds[1], -bounds[0])])[-1])


@pytest.mark.parametrize("page", [file for file in FILES if file.startswith("docs/results/")])
def test_each_interval_of_a_page_of_results_stands_in_its_tables(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    tables = "".join(blocks(text).values())
    measured = {numbers(cell) for cell in re.findall(INTERVAL, tables)}
    claims = re.findall(INTERVAL, re.sub(r"<!-- (\S+) -->.*?<!-- /\1 -->", "", text, flags=re.S))
    assert not [claim for claim in claims if numbers(claim) not in measured]
    assert bool(claims) == bool(measured)  # what a table has intervals of, its findings state


def test_a_difference_is_compared_in_both_directions():
    assert (
        numbers("+2.0 [-1.0,\n+5.0]") == numbers("2.0 [-1.0, 5.0]") == numbers("-2.0 [-5.0, 1.0]")
    )
    assert numbers("+2.0 [-1.0, +5.0]") != numbers("+2.0 [-1.0, +5.1]")


#: What may follow the study's name in that of a block.
ENDS = ("", "-gains", "-embeddings", "-embeddings-gains")


def test_every_block_of_a_pretraining_table_belongs_to_a_study():
    for file in (path for top in ("docs", "recipes") for path in (ROOT / top).rglob("*.md")):
        there = set(blocks(file.read_text(encoding="utf-8"))) - {"pretrain-run"}
        declared = {
            f"pretrain-{study.name}{end}"
            for study, end in product(STUDIES.values(), ENDS)
            if str(file.relative_to(ROOT)) in study.files
        }
        assert there <= declared, file


def test_the_labels_beside_the_record_are_those_of_the_test_set(comparisons, tmp_path):
    csv = ROOT / "data/mini/csv/test.csv"
    if not csv.is_file():
        pytest.skip("the synthetic corpus has not been made here")
    save_labels(load_csv(csv, ""), tmp_path / "test_labels.csv")
    assert load_labels(tmp_path / "test_labels.csv") == comparisons["best_rq"].labels


@pytest.mark.parametrize("file", PICTURES)
def test_pictures_have_their_own_background_and_no_date(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "<dc:date" not in text and "Matplotlib" not in text
    tree = ElementTree.fromstring(text)
    width, height = map(float, tree.attrib["viewBox"].split()[2:])
    ground = tree.find(".//*[@id='patch_1']/{http://www.w3.org/2000/svg}path").attrib
    assert "fill: #ffffff" in ground["style"]
    points = re.findall(r"[\d.]+", ground["d"])
    assert max(map(float, points[::2])) >= width - 1 and max(map(float, points[1::2])) >= height - 1


def record(tmp_path, systems):
    """A comparison whose record has these runs: (arm, seed) -> how many of six are correct."""
    path = tmp_path / "studies.yaml"
    path.write_text(
        "systems: {SSL: {lr: 1}, MASR: {}}\n"
        "conditions: {half: {missing_labels: {language: 0.5}}}\n"
        "studies:\n"
        "  two: {systems: [SSL, MASR], seeds: [1, 2], against: [SSL], files: [a.md]}\n"
        "  curve:\n"
        "    {systems: [SSL, MASR], conditions: {100: null, 50: half}, axis: '%', seeds: [1],\n"
        "     picture: {file: curve.svg, metrics: [linear]}}\n"
    )
    (tmp_path / "a.yaml").write_text("lr: 0\nmissing_labels: {}\n")
    rest = {"gender": "", "emotion": "", "speaker": ""}
    labels = {str(i): {"language": "ab"[i % 2], **rest} for i in range(6)}
    runs = pretrain_record(tmp_path / "runs.csv")
    comparison = Comparison(Studies(path), tmp_path / "a.yaml", "best_rq", runs, labels)
    for (arm, seed), right in systems.items():
        correct = {"linear": {"layer": 1, "correct": [1.0] * right + [0.0] * (6 - right)}}
        run, extra = PretrainRun(*comparison.system(arm), seed), extra_columns(correct)
        runs.add(run, {"linear": right / 6}, extra, if_recorded="skip")
    return comparison


def test_a_table_has_what_is_recorded(tmp_path):
    comparison = record(tmp_path, {("SSL", 1): 2, ("MASR", 1): 6, ("MASR", 2): 6})
    study = comparison.studies["two"]
    (tmp_path / "a.md").write_text("<!-- pretrain-two -->\n<!-- /pretrain-two -->\n")
    TABLES.fill_blocks(study, comparison, tmp_path)
    text = (tmp_path / "a.md").read_text()
    assert "| SSL     | 1 " in text and "| MASR    | 2 " in text and "33.3" in text
    gains = comparison.tables(study, study.arms, study.seeds, study.against)["two-gains"]
    assert "| SSL       | 1 " in gains and "+66.7" in gains
    (tmp_path / "a.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="a.md: no block between <!-- pretrain-two -->"):
        TABLES.fill_blocks(study, comparison, tmp_path)


def test_utterance_embeddings_have_tables_of_their_own(tmp_path):
    ours, theirs = (f"{arm}{UTTERANCE_EMBEDDING}" for arm in ("MASR", "SSL"))
    runs = {("SSL", 1): 2, ("MASR", 1): 6, (ours, 1): 3, (theirs, 1): 0}
    comparison = record(tmp_path, runs)
    study = comparison.studies["two"]
    tables = comparison.tables(study, study.arms, study.seeds, study.against)
    assert list(tables) == ["two", "two-gains", "two-embeddings", "two-embeddings-gains"]
    assert ours not in tables["two"] and f"| {ours} | 1 " in tables["two-embeddings"]
    assert f"| {theirs} " in tables["two-embeddings-gains"]
    assert "+50.0" in tables["two-embeddings-gains"]


def test_a_curve_is_drawn_from_two_points_on(tmp_path, monkeypatch):
    comparison = record(tmp_path, {("SSL", 1): 2, ("MASR", 1): 6})
    monkeypatch.setattr(TABLES, "STUDIES", comparison.studies)
    study = comparison.studies["curve"]
    assert TABLES.draw(study, comparison) is None
    comparison = record(tmp_path, {("MASR, half", 1): 4})
    figure = TABLES.draw(study, comparison)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert {name: [round(y, 1) for y in line] for name, line in lines.items()} == {
        "SSL": [33.3],
        "MASR": [66.7, 100.0],
    }


def test_a_system_that_conditions_do_not_reach_has_a_level_curve(tmp_path, monkeypatch):
    comparison = record(tmp_path, {("SSL", 1): 2})
    monkeypatch.setattr(TABLES, "STUDIES", comparison.studies)
    study = replace(comparison.studies["curve"], level=["SSL"])
    assert study.arms == ["SSL", "MASR", "MASR, half"]
    (line,) = TABLES.draw(study, comparison).axes[0].lines
    assert [round(y, 1) for y in line.get_ydata()] == [33.3, 33.3]


def test_the_same_picture_is_the_same_bytes(tmp_path):
    curves = {"MASR": {1: (50, 40, 60), 100: (70, 65, 75)}}
    for name in ("a.svg", "b.svg"):
        figure = draw_curves([Panel("x (%)", False, curves)], "labels", {"MASR": STYLES[0]})
        assert figure.axes[0].get_xscale() == "log"
        save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "arm, message",
    [
        ("MISR", "arm 'MISR': its system is not one of SSL, MASR"),
        ("MASR, third", "arm 'MASR, third': there is no condition 'third'"),
        ("MASR, half, half", r"two of its conditions override \['missing_labels'\]"),
    ],
)
def test_an_arm_that_is_not_there_is_named(arm, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        record(tmp_path, {}).studies.overrides(arm)


def test_a_study_of_an_unknown_ssl_method_is_refused(tmp_path):
    path = tmp_path / "studies.yaml"
    path.write_text(
        "systems: {MASR: {}}\nconditions: {}\nstudies: {a: {systems: [MASR], ssl: simclr}}\n"
    )
    with pytest.raises(
        ValueError, match=r"studies.yaml: ssl \['simclr'\]: choose one of best_rq, "
    ):
        Studies(path)
