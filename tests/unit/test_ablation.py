"""Training sets that know less."""

from collections import Counter

import pytest

from masr_modules.data.ablation import ablate, hide_labels, leave_out, permute_columns

ROWS = {
    str(i): {"language": ["fra", "deu", ""][i % 3], "family": f"f{i % 3}", "speaker": f"s{i % 7}"}
    for i in range(90)
}


def known(rows):
    return {i for i, row in rows.items() if row["language"]}


def test_the_share_of_each_label_is_hidden_and_nothing_else():
    kept = hide_labels(ROWS, {"language": 0.9}, seed=1)
    assert Counter(row["language"] for row in kept.values()) == {"": 84, "fra": 3, "deu": 3}
    assert all(kept[i]["family"] == row["family"] for i, row in ROWS.items())
    assert known(ROWS) > known(kept) and ROWS["0"]["language"] == "fra"


def test_a_larger_share_hides_those_of_a_smaller_one_and_a_label_keeps_one():
    shares = [known(hide_labels(ROWS, {"language": share}, seed=1)) for share in (0.5, 0.9, 0.999)]
    assert shares[0] > shares[1] > shares[2] and len(shares[2]) == 2
    assert shares[0] != known(hide_labels(ROWS, {"language": 0.5}, seed=2))


def test_permuted_columns_keep_their_counts_and_stay_together():
    mixed = permute_columns(ROWS, ["family", "speaker"], seed=1)

    def pairs(rows):
        return Counter((row["family"], row["speaker"]) for row in rows.values())

    assert pairs(mixed) == pairs(ROWS)
    assert all(mixed[i]["language"] == row["language"] for i, row in ROWS.items())
    assert sum(mixed[i]["speaker"] == row["speaker"] for i, row in ROWS.items()) < 45


def test_what_is_left_out_is_gone_before_the_rest():
    rows = ablate(ROWS, {"language": 0.5}, ["speaker"], {"language": ["deu", ""]}, seed=1)
    assert len(rows) == 30 and len(known(rows)) == 15


@pytest.mark.parametrize(
    "function, argument, message",
    [
        (leave_out, {"language": ["xxx"]}, "no training utterance has language 'xxx'"),
        (leave_out, {"language": ["fra", "deu", ""]}, "leaves no training utterance"),
        (hide_labels, {"language": 1.0}, r"share of 'language' is 1.0, not in \[0, 1\)"),
        (hide_labels, {"place": 0.5}, "no training utterance has a 'place'"),
    ],
)
def test_errors_name_what_is_wrong(function, argument, message):
    with pytest.raises(ValueError, match=message):
        function(ROWS, argument, *([1] if function is hide_labels else []))
