"""Predictions and their metrics, against scikit-learn and cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    top_k_accuracy_score,
)

from masr_modules.metrics.classification import (
    Predictions,
    accuracy,
    by_group,
    confusion,
    duration_group,
    family_error,
    macro_accuracy,
    most_confused,
    plot_confusion,
    top_k_accuracy,
    within_family_accuracy,
)

LABELS = ("deu", "fin", "fra", "ita", "nld")
FAMILIES = {"deu": "Germanic", "nld": "Germanic", "fra": "Romance", "ita": "Romance", "fin": "U"}


def random_predictions(count=300, classes=5, seed=0):
    """Unbalanced classes; the true one's score is raised."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, size=count, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    logits = rng.normal(size=(count, classes)) + np.eye(classes)[truth]
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = LABELS if classes == 5 else tuple(f"l{i:03d}" for i in range(classes))
    return Predictions([f"u{i}" for i in range(count)], labels, scores, truth)


def said(truth, guesses, labels=LABELS):
    """Predictions that name `guesses`, with a score of 0.6 for the guess and 0.1 for the rest."""
    scores = np.full((len(guesses), len(labels)), 0.1)
    scores[np.arange(len(guesses)), [labels.index(guess) for guess in guesses]] = 0.6
    return Predictions.of([f"u{i}" for i in range(len(truth))], labels, np.log(scores), truth)


def test_accuracies_are_scikit_learns():
    predictions = random_predictions()
    truth, predicted = predictions.truth, predictions.predicted
    assert accuracy(predictions) == pytest.approx(accuracy_score(truth, predicted))
    assert macro_accuracy(predictions) == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert (confusion(predictions) == confusion_matrix(truth, predicted)).all()
    for k in (1, 2, 4):
        theirs = top_k_accuracy_score(truth, predictions.log_posteriors, k=k)
        assert top_k_accuracy(predictions, k) == pytest.approx(theirs)


def test_a_language_without_a_class_is_an_error_and_is_counted():
    predictions = said(["fra", "ita", "cat", "cat"], ["fra", "ita", "fra", "ita"])
    assert predictions.unseen_counts == {"cat": 2}
    truth, predicted = predictions.truth_labels, predictions.predicted_labels
    assert accuracy(predictions) == accuracy_score(truth, predicted) == 0.5
    # Recalls: fra 1, ita 1, cat 0.
    assert macro_accuracy(predictions) == pytest.approx(2 / 3)
    assert macro_accuracy(predictions) == balanced_accuracy_score(truth, predicted)
    assert top_k_accuracy(predictions, 5) == 0.5
    assert confusion(predictions).sum() == 2


def test_an_utterance_of_unknown_language_is_left_out():
    predictions = said(["fra", "", "ita"], ["fra", "fra", "deu"])
    assert accuracy(predictions) == 0.5 and macro_accuracy(predictions) == 0.5
    assert top_k_accuracy(predictions, 1) == 0.5
    assert by_group(predictions, dict.fromkeys(predictions.ids, "all")) == {"all": 0.5}
    assert predictions.unseen_counts == {}


def test_without_any_truth_there_is_no_figure():
    predictions = said(["", ""], ["fra", "ita"])
    for figure in (accuracy, macro_accuracy, lambda p: top_k_accuracy(p, 1)):
        assert np.isnan(figure(predictions))
    assert np.isnan(family_error(predictions, FAMILIES))
    assert np.isnan(within_family_accuracy(predictions, FAMILIES))
    assert confusion(predictions).sum() == 0 and most_confused(predictions, 3) == []


def test_groups_of_duration():
    predictions = said(["fra", "fra", "ita"], ["fra", "deu", "ita"])
    seconds = {"u0": 4.0, "u1": 5.0, "u2": 12.0}
    groups = {i: duration_group(s) for i, s in seconds.items()}
    assert by_group(predictions, groups) == {"5-20 s": 1.0, "<= 5 s": 0.5}
    assert by_group(predictions, {"u2": "only", "u0": None}) == {"only": 1.0}


def test_family_error_forgives_confusion_with_relatives():
    # Right; a relative; another family; Finnish is right.
    predictions = said(["deu", "deu", "fra", "fin"], ["deu", "nld", "nld", "fin"])
    assert family_error(predictions, FAMILIES) == 0.25
    assert family_error(predictions, {**FAMILIES, "fin": None}) == pytest.approx(1 / 3)
    # Catalan is no class, but its family is known: Italian is right, German is not.
    predictions = said(["cat", "cat"], ["ita", "deu"])
    assert family_error(predictions, {**FAMILIES, "cat": "Romance"}) == 0.5


def test_inside_a_family_only_its_own_languages_compete():
    scores = [  # logarithms of
        # deu  fin  fra  ita  nld
        [0.20, 0.68, 0.01, 0.01, 0.10],  # German: of deu and nld, deu is right
        [0.10, 0.68, 0.01, 0.01, 0.20],  # German: of deu and nld, nld is wrong
        [0.58, 0.01, 0.30, 0.10, 0.01],  # French: of fra and ita, fra is right
        [0.58, 0.01, 0.30, 0.10, 0.01],  # Finnish: alone in its family, not asked
    ]
    truth = ["deu", "deu", "fra", "fin"]
    predictions = Predictions.of(["a", "b", "c", "d"], LABELS, np.log(scores), truth)
    # Recalls: German 1/2, French 1.
    assert within_family_accuracy(predictions, FAMILIES) == 0.75


def test_most_confused_pairs_are_sorted_by_share():
    predictions = said(
        ["deu", "deu", "deu", "deu", "ita", "ita", "fra"],
        ["nld", "nld", "nld", "deu", "fra", "ita", "fra"],
    )
    assert most_confused(predictions, 1) == [("deu", "nld", 0.75, 3)]
    assert most_confused(predictions, 5)[1:] == [("ita", "fra", 0.5, 1)]


def test_the_csv_gives_the_same_back(tmp_path):
    predictions = random_predictions(50)
    named = Predictions.of(
        ["sp ace", 'quo"te, comma', *predictions.ids[2:]],
        LABELS,
        predictions.log_posteriors,
        ["", "język, śląski", *predictions.truth_labels[2:]],
    )
    named.write_csv(tmp_path / "new folder" / "predictions.csv")
    back = Predictions.read_csv(tmp_path / "new folder" / "predictions.csv")
    assert back.ids == named.ids and back.labels == named.labels
    assert back.log_posteriors.dtype == np.float32
    assert (back.log_posteriors == named.log_posteriors).all()
    assert (back.truth == named.truth).all() and named.truth[:2].tolist() == [-1, -1]
    assert back.unseen == named.unseen == {'quo"te, comma': "język, śląski"}
    assert [file.name for file in (tmp_path / "new folder").iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "columns must be"),
        ("ID,predicted,truth,score_a\n", "columns must be"),
        ("ID,truth,predicted,score_a,score_b\nx,a,a,-1\n", "line 2: 4 cells"),
        ("ID,truth,predicted,score_a,score_b\nx,a,a,-1,one\n", "line 2: a score is not a number"),
        ("ID,truth,predicted,score_a,score_b\nx,a,b,-1,-2\n", "line 2: predicted 'b'"),
        ("ID,truth,predicted,score_a,score_b\nx,a,a,-1,-2\nx,a,a,-1,-2\n", "ID 'x' is repeated"),
    ],
)
def test_a_csv_that_is_not_ours_is_an_error(tmp_path, text, message):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Predictions.read_csv(path)


def test_predictions_that_do_not_fit_are_an_error():
    scores = np.zeros((2, 2))
    with pytest.raises(ValueError, match="do not fit"):
        Predictions(["x"], ("a", "b"), scores, np.array([0, 0]))
    with pytest.raises(ValueError, match="'a' is repeated"):
        Predictions(["x", "y"], ("a", "a"), scores, np.array([0, 0]))
    with pytest.raises(ValueError, match="between -1 and 1"):
        Predictions(["x", "y"], ("a", "b"), scores, np.array([0, 2]))
    with pytest.raises(ValueError, match="'y' hold a NaN"):
        Predictions(["x", "y"], ("a", "b"), np.array([[0, 0], [0, np.nan]]), np.array([0, 1]))


def test_the_picture_orders_classes_by_family(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "masr_modules.metrics.plots.save_figure", lambda figure, path: drawn.append(figure)
    )
    plot_confusion(said(["deu", "fin"], ["nld", "fin"]), {**FAMILIES, "fin": None}, "ignored")
    axes = drawn[0].axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["deu", "nld", "fra", "ita", "fin"]
    table = axes.images[0].get_array()
    assert table[0].tolist() == [0, 1, 0, 0, 0]  # German, all taken for Dutch
    assert table.mask[1].all() and not table.mask[4].any()  # Dutch has no rows
