"""Sets that know less."""

from collections import Counter

import pytest

from masr_modules.data.corruption import (
    add_label_noise,
    corrupt,
    keep_share,
    leave_out,
    permute_columns,
    remove_labels,
)
from masr_modules.knowledge import name_branches
from masr_modules.knowledge.languages import language_lineage
from masr_modules.training import experiment

ROWS = {
    str(i): {"language": ["fra", "deu", ""][i % 3], "family": f"f{i % 3}", "speaker": f"s{i % 7}"}
    | {"source": "espeak"}
    for i in range(90)
}


def known(rows):
    return {i for i, row in rows.items() if row["language"]}


def test_the_share_of_each_label_is_hidden_and_nothing_else():
    kept = remove_labels(ROWS, {"language": 0.9}, seed=1)
    assert Counter(row["language"] for row in kept.values()) == {"": 84, "fra": 3, "deu": 3}
    assert all(kept[i]["family"] == row["family"] for i, row in ROWS.items())
    assert known(ROWS) > known(kept) and ROWS["0"]["language"] == "fra"


def test_a_larger_share_hides_those_of_a_smaller_one_and_a_label_keeps_one():
    shares = [
        known(remove_labels(ROWS, {"language": share}, seed=1)) for share in (0.5, 0.9, 0.999)
    ]
    assert shares[0] > shares[1] > shares[2] and len(shares[2]) == 2
    assert shares[0] != known(remove_labels(ROWS, {"language": 0.5}, seed=2))


def test_all_labels_of_a_column_can_be_hidden():
    kept = remove_labels(ROWS, {"language": 1, "family": 0.5}, seed=1)
    assert not known(kept) and any(row["family"] for row in kept.values())


def test_branches_take_the_place_of_families():
    rows = {str(i): {"language": code, "family": "f"} for i, code in enumerate(["spa", "tam", ""])}
    found = [row["family"] for row in name_branches(rows, 3).values()]
    assert found == ["Italic", "South Dravidian I", "f"]
    assert name_branches(rows, 1) == rows
    assert name_branches(rows, 99)["0"]["family"] == language_lineage("spa")[-1]
    with pytest.raises(ValueError, match="family_depth: 0 is below 1"):
        name_branches(rows, 0)


def test_permuted_columns_keep_their_counts_and_stay_together():
    mixed = permute_columns(ROWS, ["family", "speaker"], seed=1)

    def pairs(rows):
        return Counter((row["family"], row["speaker"]) for row in rows.values())

    assert pairs(mixed) == pairs(ROWS)
    assert all(mixed[i]["language"] == row["language"] for i, row in ROWS.items())
    assert sum(mixed[i]["speaker"] == row["speaker"] for i, row in ROWS.items()) < 45


def test_what_is_left_out_is_gone_before_the_rest():
    settings = {
        "missing_labels": {"language": 0.5},
        "permuted_columns": ["speaker"],
        "left_out": {"language": ["deu", ""]},
    }
    rows = corrupt(ROWS, settings, seed=1)
    assert len(rows) == 30 and len(known(rows)) == 15
    assert [row["speaker"] for row in rows.values()] != [ROWS[i]["speaker"] for i in rows]
    assert corrupt(ROWS, {"left_out": {}, "seed": 3}, seed=1) == ROWS


def wrong(rows):
    return {i for i, row in rows.items() if row["language"] != ROWS[i]["language"]}


def test_the_share_of_each_label_is_wrong_and_nothing_else():
    noisy = add_label_noise(ROWS, {"language": 0.2}, seed=1)
    assert Counter(ROWS[i]["language"] for i in wrong(noisy)) == {"fra": 6, "deu": 6}
    assert all({**row, "language": ""} == {**ROWS[i], "language": ""} for i, row in noisy.items())
    assert known(noisy) == known(ROWS)
    more = add_label_noise(ROWS, {"language": 0.5}, seed=1)
    assert wrong(more) > wrong(noisy) != wrong(add_label_noise(ROWS, {"language": 0.2}, seed=2))


def test_wrong_labels_are_drawn_from_all_others():
    rows = {str(i): {"language": "abcd"[i % 4]} for i in range(400)}
    noisy = add_label_noise(rows, {"language": 0.5}, seed=1)
    taken = {(rows[i]["language"], row["language"]) for i, row in noisy.items()}
    assert len(taken) == 16
    again = add_label_noise({i: row for i, row in rows.items()}, {"language": 0.5}, seed=1)
    assert again == noisy
    # What is hidden after that is a share of right and wrong labels alike.
    both = corrupt(
        rows, {"label_noise": {"language": 0.5}, "missing_labels": {"language": 0.5}}, seed=1
    )
    assert all(row["language"] in ("", noisy[i]["language"]) for i, row in both.items())


def test_a_share_of_the_rows_has_each_label_and_grows():
    rows = {i: {**row, "emotion": "sad" if i == "7" else "happy"} for i, row in ROWS.items()}

    def kept(share, seed=1):
        return list(keep_share(rows, share, ["language", "emotion"], seed))

    assert len(kept(0.1)) in (9, 10) and len(kept(0.5)) in (45, 46)  # one more: the sad one
    assert set(kept(0.01)) < set(kept(0.1)) < set(kept(0.5)) < set(kept(1)) == set(rows)
    assert "7" in kept(0.01) and {rows[i]["language"] for i in kept(0.01)} == {"fra", "deu", ""}
    assert kept(0.1) == [i for i in rows if i in kept(0.1)] and kept(0.1) != kept(0.1, seed=2)
    with pytest.raises(ValueError, match=r"labelled_share: 0 is not in \(0, 1\]"):
        kept(0)


@pytest.mark.parametrize(
    "function, argument, message",
    [
        (leave_out, {"language": ["xxx"]}, "no training utterance has language 'xxx'"),
        (leave_out, {"language": ["fra", "deu", ""]}, "leaves no training utterance"),
        (remove_labels, {"language": 1.1}, r"fraction of 'language' is 1.1, not in \[0, 1\]"),
        (
            add_label_noise,
            {"language": 1},
            r"label_noise: the fraction of 'language' is 1, not in \[0, 1\)",
        ),
        (remove_labels, {"place": 0.5}, "missing_labels: no training utterance has a 'place'"),
        (add_label_noise, {"language": -0.1}, "label_noise: the fraction of 'language' is -0.1"),
        (add_label_noise, {"source": 0.5}, r"'source' has no other label than \['espeak'\]"),
    ],
)
def test_errors_name_what_is_wrong(function, argument, message):
    with pytest.raises(ValueError, match=message):
        function(ROWS, argument, *([] if function is leave_out else [1]))


def test_an_experiment_loads_what_its_keys_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "drop_unreadable", lambda rows, *_, **__: rows)
    lines = [
        ",".join((f"ID-SPLIT-{i}", "1.0", "a.wav", row["language"])) for i, row in ROWS.items()
    ]
    hparams = {"data_folder": "", "output_folder": tmp_path, "max_unreadable": 0, "seed": 1}
    for split in ("train", "valid", "test", "labelled"):
        path = tmp_path / f"{split}.csv"
        text = "\n".join(["ID,duration,wav,language", *lines]).replace("SPLIT", split)
        path.write_text(text + "\n")
        hparams[f"{split}_csv"] = str(path)
    keys = {"label_noise": {"language": 0.2}, "labelled_share": 0.1}
    before, after = experiment.load_rows(hparams), experiment.load_rows(hparams | keys)
    changed = [
        sum(row != before[split][i] for i, row in rows.items()) for split, rows in after.items()
    ]
    assert changed == [12, 0, 0, 0]  # a fifth of the 60 known languages of training
    assert [len(rows) for rows in after.values()] == [90, 90, 90, 9]
    branches = experiment.load_rows(
        hparams | {"family_depth": 3, "missing_labels": {"language": 1}}
    )
    families = [{row.get("family") for row in rows.values()} for rows in branches.values()]
    assert families[0] == {"Italic", "Germanic", None} and families[1:] == [{None}] * 3
    with pytest.raises(
        ValueError, match="labelled_share is .*, but labelled_csv is not set: name a CSV there"
    ):
        experiment.load_rows(hparams | keys | {"labelled_csv": None})


def test_probes_of_a_corrupted_training_set_learn_from_the_intact_one(tmp_path, monkeypatch):
    for name in ("drop_unreadable", "drop_undecodable"):
        monkeypatch.setattr(experiment, name, lambda rows, *_, **__: rows)
    hparams = {"data_folder": "", "output_folder": tmp_path, "max_unreadable": 0, "seed": 1}
    for split in ("train", "valid", "test"):
        lines = [f"{split}-{i},1.0,a.wav,{'ab'[i % 2]},{'xyz'[i % 3]}" for i in range(12)]
        (tmp_path / f"{split}.csv").write_text(
            "\n".join(["ID,duration,wav,speaker,emotion", *lines, ""])
        )
        hparams[f"{split}_csv"] = [
            {"corpus": "acted", "csv": str(tmp_path / f"{split}.csv"), "data_root": ""}
        ]
    assert "labelled" not in experiment.load_rows(hparams)
    hparams |= {"missing_labels": {"emotion": 1}, "left_out": {"speaker": ["b"]}}
    rows = experiment.load_rows(hparams)
    assert {(row["speaker"], row["emotion"]) for row in rows["train"].values()} == {("a", "")}
    assert len(rows["labelled"]) == 12
    assert {row["emotion"] for row in rows["labelled"].values()} == {"x", "y", "z"}
    rows = experiment.load_rows(hparams | {"evaluated_per_speaker": 1, "family_depth": 2})
    assert len(rows["labelled"]) == 6  # one of each speaker and emotion
