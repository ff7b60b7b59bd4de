"""What an analysis measures, on small arrays whose answers are known."""

import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from encoder_analysis.confusion import confused_pairs, confusion_matrix, group_accuracy
from encoder_analysis.geometry import centroid_distances
from encoder_analysis.mantel import mantel
from encoder_analysis.measures import Languages, measure
from encoder_analysis.page import Points, write_page
from encoder_analysis.pictures import (
    draw_confusions,
    draw_distances,
    draw_map,
    draw_trees,
    save_picture,
)
from encoder_analysis.purity import Attribute, purities, purity
from encoder_analysis.report import Findings, as_json, as_markdown
from encoder_analysis.systems import look_at
from encoder_analysis.trees import compare_trees
from encoder_analysis.utterances import Utterances, check_analysable, read_utterances
from matplotlib.image import imread

from masr_modules.knowledge.descent import OTHER, branches, order_by_descent
from masr_modules.knowledge.language_distances import language_distances
from masr_modules.metrics.embeddings import LabelledEmbeddings

pytestmark = pytest.mark.slow

EIGHT = ["swe", "dan", "deu", "nld", "spa", "por", "tam", "kan"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def points_at(distances):
    """Points whose mutual angles grow with the distances: unit vectors of a Gram matrix."""
    gram = np.exp(-2 * distances**2)
    values, vectors = np.linalg.eigh(gram)
    points = vectors * np.sqrt(np.maximum(values, 0))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


# Distances and trees


def test_centroids_arranged_as_the_tree_agree_with_it():
    genetic = language_distances(EIGHT, "genetic")
    ours = centroid_distances(points_at(genetic), np.array(EIGHT), EIGHT)
    found = mantel(ours.round(6), genetic.round(6), permutations=999)  # ties stay ties
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.p < 0.01 and (found.languages, found.pairs) == (8, 28)


def test_shuffled_centroids_do_not():
    genetic = language_distances(EIGHT, "genetic")
    shuffled = np.random.default_rng(1).permutation(8)
    ours = centroid_distances(points_at(genetic)[shuffled], np.array(EIGHT), EIGHT)
    found = mantel(ours, genetic, permutations=999)
    assert found.p > 0.1
    assert found.low < 0 < found.high


def test_p_is_right_where_nothing_agrees():
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(200):
        tables = [rng.random((7, 7)) for _ in range(2)]
        first, second = ((t + t.T) * (1 - np.eye(7)) for t in tables)
        ps.append(mantel(first, second, permutations=99, draws=1).p)
    assert 0.01 < np.mean(np.array(ps) <= 0.05) < 0.1  # 0.05, within 3 standard errors


def test_what_is_not_known_is_left_out_of_the_correlation():
    points = np.arange(6.0) ** 2
    distances = abs(points[:, None] - points)
    reference = distances.copy()
    reference[0, :] = reference[:, 0] = np.nan
    reference[1, 2] = reference[2, 1] = np.nan
    found = mantel(distances, reference, permutations=99)
    assert (found.languages, found.pairs) == (5, 9)
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize("reference", [np.full((4, 4), np.nan), np.ones((4, 4)) - np.eye(4)])
def test_nothing_to_compare_is_nan(reference):
    distances = 1 - np.eye(4)
    distances[0, 1] = distances[1, 0] = 0.5
    assert np.isnan(mantel(distances, reference, permutations=9).value)


def test_unknown_centroids_are_an_error():
    with pytest.raises(ValueError, match="must have no NaN"):
        mantel(np.full((3, 3), np.nan), np.zeros((3, 3)))


def test_trees_of_the_same_distances_are_one():
    genetic = language_distances(EIGHT, "genetic")
    trees = compare_trees(genetic, genetic)
    assert trees.between == pytest.approx(1.0)
    assert trees.own_cophenetic == trees.descent_cophenetic > 0.9


def test_trees_of_unlike_distances_are_not():
    two_pairs = np.ones((4, 4)) - np.eye(4)
    other_pairs = two_pairs.copy()
    for table, pairs in ((two_pairs, ((0, 1), (2, 3))), (other_pairs, ((0, 2), (1, 3)))):
        for i, j in pairs:
            table[i, j] = table[j, i] = 0.1
    assert compare_trees(two_pairs, other_pairs).between < 0


def test_two_languages_make_no_tree():
    with pytest.raises(ValueError, match="three languages"):
        compare_trees(np.zeros((2, 2)), np.zeros((2, 2)))


# Neighbours


def test_purity_of_two_far_groups_is_one():
    points = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]])
    columns = {"emotion": np.array(list("aaabbb")), "speaker": np.array(list("uvwxyz"))}
    found = purity(points, columns, Attribute("emotion", "emotion"), neighbours=2)
    assert found == (1.0, pytest.approx(2 / 5), 6, 2)


def test_neighbours_of_the_same_speaker_do_not_count():
    points = np.array([[1, 0], [0.9999, 0.0141], [0.8, 0.6], [0, 1]])
    columns = {"emotion": np.array(list("aabb")), "speaker": np.array(list("uuxy"))}
    found = purity(points, columns, Attribute("emotion", "emotion"), neighbours=1)
    # Both of u have x as their nearest other voice (b); x has one of u (a); y has x (b).
    assert found.share == 1 / 4
    own = purity(points, columns, Attribute("emotion", "emotion", ()), neighbours=1)
    assert own.share == 3 / 4


def test_only_known_values_are_asked():
    points = np.eye(4)
    columns = {"gender": np.array(["f", "", "f", "m"]), "speaker": np.array([""] * 4)}
    assert purity(points, columns, Attribute("gender", "gender")).utterances == 3
    assert purities(points, columns | {"age": np.array(["a"] * 4)}, [Attribute("age", "age")]) == {}


def test_random_points_are_pure_by_chance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1200, 4))
    columns = {"gender": rng.choice(["f", "m"], 1200), "speaker": rng.choice(list("abc"), 1200)}
    found = purity(points, columns, Attribute("gender", "gender"))
    assert found.share == pytest.approx(found.chance, abs=0.03)


# Confusions


def test_relatives_stand_side_by_side():
    ordered = order_by_descent(["tam", "spa", "epo", "swe", "por", "kan", "dan"])
    for pair in (("spa", "por"), ("swe", "dan"), ("tam", "kan")):
        assert abs(ordered.index(pair[0]) - ordered.index(pair[1])) == 1
    assert ordered[-1] == "epo"


def test_groups_are_families_where_there_are_many():
    several = ["fin", "spa", "tam", "tur"]
    assert set(branches([*several, "swe", "por"], most=4).values()) == {
        *("Finnic", "Classical Indo-European", "South Dravidian", "Common Turkic")
    }
    assert set(branches(["spa", "swe"], most=7).values()) == {"Italic", "Germanic"}
    assert branches([*several, "spa", "epo"], most=1) == {
        code: "Indo-European" if code == "spa" else OTHER for code in [*several, "epo"]
    }


def test_mistakes_inside_and_across():
    families = {"spa": "I", "por": "I", "swe": "I", "tam": "D", "epo": ""}
    truth = np.array(["spa", "spa", "tam", "tam", "epo"])
    predicted = np.array(["spa", "por", "tam", "spa", "spa"])
    found = group_accuracy(truth, predicted, families)
    assert (found.accuracy, found.inside, found.across) == (3 / 4, 1 / 4, 1 / 4)
    assert found.inside_of_mistakes == 1 / 2
    # Of the four other languages, two are relatives of Spanish and none of Tamil.
    assert found.by_chance == pytest.approx((2 / 4 + 0) / 2)


def test_the_most_confused_pair_comes_first():
    truth = np.array(["a"] * 10 + ["b"] * 10 + ["c"] * 10)
    predicted = np.array(["a"] * 7 + ["c"] * 3 + ["b"] * 9 + ["a"] + ["c"] * 10)
    matrix = confusion_matrix(truth, predicted, ["a", "b", "c"])
    assert confused_pairs(matrix, ["a", "b", "c"]) == [("a", "c"), ("a", "b")]


# Input


CSV = "ID,duration,wav,language,speaker\n"


def write_csv(folder, rows):
    path = folder / "test.csv"
    path.write_text(CSV + "".join(f"u{i},1.0,{i}.wav,{row}\n" for i, row in enumerate(rows)))
    return path


def test_rows_without_a_known_language_are_counted(tmp_path):
    found = read_utterances(write_csv(tmp_path, ["es,a", ",a", "qqq,b", "spa,c"]), tmp_path)
    assert list(found.rows) == ["u0", "u3"]
    assert set(found.column("language")) == {"spa"}
    assert found.left_out == {"no language": 1, "unknown language code": 1}


def test_a_csv_without_the_column_is_an_error(tmp_path):
    (tmp_path / "test.csv").write_text("ID,duration,wav\na,1.0,a.wav\n")
    with pytest.raises(ValueError, match="test.csv: no column language"):
        read_utterances(tmp_path / "test.csv", tmp_path)


def test_no_known_language_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no row has a known language"):
        read_utterances(write_csv(tmp_path, ["qqq,a"]), tmp_path)


@pytest.mark.parametrize(
    "rows, problem",
    [(["es,a"] * 9, "1 language with readable"), (["es,a", "de,b"], "too few utterances, 2")],
)
def test_too_little_is_an_error(tmp_path, rows, problem):
    path = write_csv(tmp_path, rows)
    with pytest.raises(ValueError, match=problem):
        check_analysable(read_utterances(path, tmp_path), path)


# The whole, without an encoder


def random_findings(languages=("spa", "por", "swe", "tam", "epo"), each=8):
    """Two systems on random points: every table and picture is made."""
    rng = np.random.default_rng(0)
    codes = np.repeat(languages, each)
    rows = {
        f"u{i}": {"language": code, "family": "x", "speaker": f"s{i % 3}", "gender": "fm"[i % 2]}
        for i, code in enumerate(codes.tolist())
    }
    utterances = Utterances(rows, Counter({"unreadable audio": 2}))
    layers = rng.normal(size=(3, len(codes), 6)).astype(np.float32)
    layers[1, :, 0] += 3 * np.unique(codes, return_inverse=True)[1]
    split = LabelledEmbeddings.of(layers, rows)
    splits = dict.fromkeys(("labelled", "valid", "test"), split)
    found = Languages.of(codes, codes, ["genetic", "script"])
    systems = {}
    for name in ("before", "after"):
        system = look_at(name, splits, "knn", 0 if name == "before" else None)
        measured = measure(system, utterances, found, ["genetic", "script"], permutations=99)
        systems[name] = (system, measured)
    return Findings("test.csv", "knn", utterances, found, systems)


def test_tables_and_json_hold_all_systems():
    found = random_findings()
    text, numbers = as_markdown(found), json.loads(json.dumps(as_json(found), allow_nan=False))
    assert "40 utterances in 5 languages; left out: 2 unreadable audio." in text
    assert "Not in the trees, of unknown descent: epo." in text
    assert numbers["systems"]["before"]["layer"] == 0
    assert len(numbers["systems"]["after"]["confusion"]) == 5
    assert f"{numbers['systems']['after']['correlations']['genetic']['value']:.3f}" in text
    assert numbers["systems"]["after"]["correlations"]["genetic"]["languages"] == 4


def test_a_system_less_itself_is_nothing():
    found = random_findings()
    found.systems["before"] = found.systems["after"]
    assert found.gain == (0, 0, 0)
    assert found.correlation_gains["genetic"] == (0, 0, 0)
    assert "| after less before | genetic  | +0.000   | [0.000, 0.000] " in as_markdown(found)


def test_a_layer_that_is_not_there_is_an_error():
    split = LabelledEmbeddings(np.zeros((2, 4, 3)), {"label": np.array(list("aabb"))})
    with pytest.raises(ValueError, match="its layers are 0 to 1"):
        look_at("MASR", dict.fromkeys(("labelled", "valid", "test"), split), layer=2)


def test_nothing_in_a_picture_is_cut_off(tmp_path):
    found = random_findings()
    (system, measured), codes = found.systems["after"], found.languages.codes
    group_of = found.languages.coloured
    matrices = {name: m.confusion for name, (_, m) in found.systems.items()}
    tables = (measured.centroids, found.languages.distances, measured.correlations)
    pictures = {
        "confusion": draw_confusions(matrices, codes, group_of),
        "trees": draw_trees(measured.trees, codes[:4], group_of, "after"),
        "map": draw_map(system.points[:, :2], system.truth, group_of, "after"),
        "distances": draw_distances(*tables, codes, group_of, "after"),
    }
    for name, figure in pictures.items():
        save_picture(figure, tmp_path / name)
        pixels = imread(tmp_path / f"{name}.png")
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (border == 1).all(), name  # white, and not see-through
        assert (tmp_path / f"{name}.svg").read_text().rstrip().endswith("</svg>")


def test_the_page_holds_names_as_text(tmp_path):
    hostile = "</script><script>alert(1)</script>"
    points = Points(np.zeros((1, 2)), ["u"], [hostile], ["spa"], [hostile], ["Italic"])
    write_page(tmp_path / "map.html", hostile, points, {}, ["Italic"])
    text = (tmp_path / "map.html").read_text()
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 3


def test_clips_are_short(tmp_path):
    from encoder_analysis.clips import make_clips

    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=160000) / 9, 16000)
    assert len(make_clips({"a": {"wav": str(tmp_path / "a.wav")}})["a"]) < 30_000
