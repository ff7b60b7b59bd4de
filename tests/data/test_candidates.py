"""Labels that other columns contradict."""

import logging

import pytest

from masr_modules.data.candidates import drop_non_candidates
from masr_modules.data.corruption import add_label_noise, remove_labels

LANGUAGES = {"spa": ("ES", "rom"), "cat": ("ES", "rom"), "fra": ("FR", "rom"), "deu": ("DE", "ger")}
ROWS = {
    f"{language}{i}": {"language": language, "region": region, "family": family}
    for language, (region, family) in LANGUAGES.items()
    for i in range(100)
}
CHECK = {"language": ["region", "family"]}


def emptied(before, after):
    assert all({**row, "language": ""} == {**before[i], "language": ""} for i, row in after.items())
    return {i for i, row in after.items() if before[i]["language"] and not row["language"]}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_all_wrong_labels_of_another_region_are_found_and_no_right_one(share):
    noisy = add_label_noise(ROWS, {"language": share}, seed=1)
    wrong = {i for i in ROWS if noisy[i]["language"] != ROWS[i]["language"]}
    elsewhere = {i for i in wrong if LANGUAGES[noisy[i]["language"]][0] != ROWS[i]["region"]}
    assert emptied(noisy, drop_non_candidates(noisy, CHECK)) == elsewhere < wrong


def test_families_find_fewer_and_columns_add_up():
    noisy = add_label_noise(ROWS, {"language": 0.3}, seed=1)
    found = [
        emptied(noisy, drop_non_candidates(noisy, {"language": columns}))
        for columns in (["family"], ["region"], ["family", "region"])
    ]
    assert found[0] < found[1] == found[2]  # a region has one family


def test_nothing_changes_where_nothing_is_wrong_or_nothing_is_asked():
    assert drop_non_candidates(ROWS, CHECK) == ROWS
    assert drop_non_candidates(ROWS, {}) is ROWS


def test_a_label_may_have_several_values_each_more_often_than_others():
    rows = ROWS | {f"m{i}": {"language": "spa", "region": "MX", "family": "rom"} for i in range(9)}
    assert drop_non_candidates(rows, CHECK) == rows


def test_empty_cells_say_nothing():
    rows = remove_labels(add_label_noise(ROWS, {"language": 0.3}, seed=1), {"region": 0.5}, seed=1)
    found = emptied(rows, drop_non_candidates(rows, {"language": ["region"]}))
    assert found and all(rows[i]["region"] for i in found)
    hidden = remove_labels(rows, {"language": 0.5}, seed=1)
    assert not emptied(hidden, hidden) and all(
        hidden[i]["language"]
        for i in emptied(hidden, drop_non_candidates(hidden, {"language": ["region"]}))
    )


def test_a_label_of_which_nothing_would_be_left_stays():
    # Each column speaks against another part of the Galician utterances.
    cells = [{"region": "ES", "family": "ger"}, {"region": "DE", "family": "rom"}]
    galician = {f"g{i}": {"language": "glg", **cells[i % 5 > 1]} for i in range(20)}
    rows = ROWS | galician
    parts = [emptied(rows, drop_non_candidates(rows, {"language": [name]})) for name in cells[0]]
    assert parts[0] and parts[1] and parts[0] | parts[1] >= {*galician}
    assert drop_non_candidates(rows, CHECK) == rows


def test_the_log_counts(caplog):
    noisy = add_label_noise(ROWS, {"language": 0.02}, seed=1)
    with caplog.at_level(logging.INFO):
        found = emptied(noisy, drop_non_candidates(noisy, CHECK))
    assert f"region, family contradict {len(found)} of 400 cells of 'language'" in caplog.text


@pytest.mark.parametrize(
    "checks, message",
    [
        ({"language": ["language"]}, "drop_non_candidates: 'language' cannot check itself"),
        ({"language": ["place"]}, "no training utterance has both a 'language' and a 'place'"),
        ({"accent": ["region"]}, "no training utterance has both a 'accent' and a 'region'"),
    ],
)
def test_errors_name_the_key_and_the_columns(checks, message):
    with pytest.raises(ValueError, match=message):
        drop_non_candidates(ROWS, checks)
