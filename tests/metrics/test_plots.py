"""Pictures: the same picture is known again, another one is told from it."""

import matplotlib
import pytest
from pictures import picture_differences, read_picture

from masr_modules.metrics.plots import STYLES, Panel, draw_curves, draw_intervals, save_figure

CURVES = {"LASR": {1: (40, 35, 45), 50: (55, 50, 60)}, "MASR": {1: (50, 40, 60), 50: (70, 65, 75)}}
ROWS = {"LASR": (14.0, 12.0, 16.0), "MASR": (8.0, 7.0, 9.0)}


def curves(path, values=CURVES, axis="labels (%)", first=0, title="accuracy (%)"):
    styles = dict(zip(("LASR", "MASR"), STYLES[first:], strict=False))
    save_figure(draw_curves([Panel(title, False, values)], axis, styles), path)
    return path


def rows(path, values=ROWS):
    styles = dict(zip(values, STYLES, strict=False))
    save_figure(draw_intervals([Panel("EER (%)", True, values)] * 2, styles), path)
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The function that draws -> its picture."""
    folder = tmp_path_factory.mktemp("pictures")
    return {draw: draw(folder / f"{draw.__name__}.svg") for draw in (curves, rows)}


@pytest.mark.parametrize("draw", [curves, rows])
@pytest.mark.parametrize(
    "change",
    [{}, {"font.family": "DejaVu Serif"}, {"xtick.major.pad": 6, "ytick.major.size": 6}],
    ids=["none", "letters", "sizes"],
)
def test_the_same_is_known_again_however_it_is_laid_out(draw, change, original, tmp_path):
    with matplotlib.rc_context(change):
        other = draw(tmp_path / "b.svg")
    same = original[draw].read_bytes() == other.read_bytes()
    assert same == (not change)
    assert picture_differences(original[draw], other) == []


def moved(values, by):
    """The same with one number changed."""
    mean, low, high = values["MASR"][50]
    return values | {"MASR": values["MASR"] | {50: (mean + by, low, high)}}


@pytest.mark.parametrize(
    "change",
    [
        {"values": moved(CURVES, 0.1)},
        {"values": {"MASR": CURVES["MASR"]}},
        {"values": CURVES | {"MASR": {50: (70, 65, 75)}}},
        {"values": {"LASR": CURVES["MASR"], "MASR": CURVES["LASR"]}},
        {"values": dict(reversed(CURVES.items()))},
        {"axis": "hours"},
        {"title": "accuracy"},
        {"first": 1},
    ],
    ids=["number", "system", "point", "swapped", "order", "axis", "title", "colours"],
)
def test_another_curve_is_told(change, original, tmp_path):
    assert picture_differences(original[curves], curves(tmp_path / "b.svg", **change))


@pytest.mark.parametrize(
    "values",
    [
        ROWS | {"MASR": (8.1, 7.0, 9.0)},
        ROWS | {"MASR": (8.0, 7.0, 9.05)},
        {"LASR": ROWS["LASR"]},
        {"LASR": ROWS["LASR"], "MISR": ROWS["MASR"]},
    ],
    ids=["mean", "interval", "system", "another system"],
)
def test_another_row_is_told(values, original, tmp_path):
    assert picture_differences(original[rows], rows(tmp_path / "b.svg", values))


def test_a_picture_is_read_with_its_texts_marks_and_places(original):
    shown = read_picture(original[rows])
    assert list(shown) == ["", "axes_1", "axes_2"]
    words = [text.words for text in shown["axes_1"].texts]
    assert {"LASR", "MASR", "14.0", "8.0", "EER (%)", "less is better"} <= set(words)


def words_in(path):
    return {text.words.strip() for panel in read_picture(path).values() for text in panel.texts}


def test_names_and_titles_with_formulas_in_them_are_drawn_as_they_are(tmp_path):
    names = (r"a $\frac{$", "b $x$ $y$")
    values = dict(zip(names, ROWS.values(), strict=True))
    assert set(names) <= words_in(rows(tmp_path / "rows.svg", values))
    assert set(names) <= words_in(curves(tmp_path / "curves.svg", axis=names[0], title=names[1]))


def test_a_mean_without_an_interval_is_a_point_without_whiskers(tmp_path):
    nothing = float("nan")
    alone = {"LASR": {1: (40, nothing, nothing), 50: (55, nothing, nothing)}}
    with_bars = {"LASR": {1: (40, 35, 45), 50: (55, 50, 60)}}
    pictures = [
        curves(tmp_path / f"{i}.svg", values) for i, values in enumerate((alone, with_bars))
    ]
    counts = [
        sum(len(panel.drawings) for panel in read_picture(path).values()) for path in pictures
    ]
    assert counts[0] < counts[1]
