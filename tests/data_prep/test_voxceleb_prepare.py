"""VoxCeleb in its releases' layouts, whole and as real copies are."""

import shutil

import pytest
from trees import write_lines, write_wav
from trees_voxceleb import (
    SPEAKERS_1,
    VIDEOS,
    prepare,
    speakers,
    split_lines,
    trial_lines,
    voxceleb1_tree,
    voxceleb2_tree,
)

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.common.trials import read_trials, trials_path
from data_prep.voxceleb_prepare import prepare_voxceleb
from masr_modules.knowledge.territories import territory_code

FIRST, SECOND = VIDEOS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Both, side by side."""
    root = tmp_path_factory.mktemp("voxceleb")
    voxceleb1_tree(root / "voxceleb1")
    voxceleb2_tree(root / "voxceleb2")
    return root


# What the CSVs hold


def test_a_row_of_voxceleb1(corpus, tmp_path):
    rows = prepare(corpus, tmp_path)["test"]
    row = next(r for r in rows if r["ID"] == f"voxceleb1_id10270--{SECOND}--00002")
    expected = {
        "wav": f"$data_root/voxceleb1/wav/id10270/{SECOND}/00002.wav",
        "duration": "0.2",
        "speaker": "voxceleb1_id10270",
        "gender": "male",
        "nationality": "South Korea",
        "region": "KR",
        "source": SECOND,
        "language": "",  # VoxCeleb does not tell
    }
    assert {name: row[name] for name in expected} == expected


def test_a_row_of_voxceleb2_has_no_nationality(corpus, tmp_path):
    rows = prepare(corpus, tmp_path, train_on=["voxceleb2"])
    row = next(r for r in rows["train"] + rows["valid"] if r["speaker"] == "voxceleb2_id00015")
    assert row["ID"].startswith("voxceleb2_id00015--") and row["gender"] == "female"
    assert row["wav"].startswith("$data_root/voxceleb2/dev/wav/id00015/")
    assert row["region"] == row["nationality"] == ""


def test_names_of_countries_that_the_library_lacks():
    names = {"USA": "US", "UK": "GB", "Burma": "MM", "Czech Republic": "CZ", "Macedonia": "MK"}
    assert {name: territory_code(name) for name in names} == names
    assert territory_code("Europe") is None and territory_code("") is None


# Who is where


def test_training_for_O_leaves_out_its_speakers_and_the_test_set_of_voxceleb2(corpus, tmp_path):
    splits = prepare(corpus, tmp_path, trials=["O", "O_cleaned"])
    assert speakers(splits["test"]) == {"id10270", "id10271"}
    dev = {"id10001", "id10002", "id10003", "id10004", "id00012", "id00015", "id00016"}
    assert speakers(splits["train"]) | speakers(splits["valid"]) == dev
    check_disjoint(splits, ("speaker",))


def test_speakers_of_O_are_left_out_whatever_the_metadata_say(tmp_path):
    root = voxceleb1_tree(tmp_path / "corpus")
    meta = root / "meta/vox1_meta.csv"
    meta.write_text(meta.read_text().replace("\ttest", "\tdev"))
    splits = prepare(root, tmp_path / "csv")
    assert not speakers(splits["train"] + splits["valid"]) & {"id10270", "id10271"}


@pytest.mark.parametrize("trials", [["E"], ["H_cleaned"], ["O", "H"]])
def test_training_for_E_and_H_refuses_voxceleb1(corpus, tmp_path, trials):
    message = f"the trials {trials[-1]} draw on all speakers of VoxCeleb1: train on voxceleb2"
    for train_on in (["voxceleb1"], ["voxceleb1", "voxceleb2"]):
        with pytest.raises(ValueError, match=message):
            prepare(corpus, tmp_path, trials=trials, train_on=train_on)
    with pytest.raises(ValueError, match=message):  # nothing else is there
        prepare(corpus / "voxceleb1", tmp_path, trials=trials)
    assert not list(tmp_path.iterdir())


def test_E_and_H_test_on_all_of_voxceleb1(corpus, tmp_path):
    splits = prepare(corpus, tmp_path, trials=["E", "H"])
    assert speakers(splits["train"]) | speakers(splits["valid"]) == {
        "id00012",
        "id00015",
        "id00016",
    }
    assert len(speakers(splits["test"])) == 6
    check_disjoint(splits, ("speaker",))
    assert (
        len(read_trials(trials_path(tmp_path, "E")))
        == len(read_trials(trials_path(tmp_path, "H")))
        == 42
    )


def test_cleaned_and_uncleaned_lists_have_names_of_their_own(corpus, tmp_path):
    names = ["E", "E_cleaned", "H", "H_cleaned"]
    root = shutil.copytree(corpus, tmp_path / "corpus")
    prepare(root, tmp_path, trials=names)
    assert [len(read_trials(trials_path(tmp_path, name))) for name in names] == [42, 40, 42, 40]
    next(root.rglob("list_test_all.txt")).unlink()
    with pytest.raises(FileNotFoundError, match="no list_test_all.txt .trials E.,"):
        prepare(root, tmp_path, trials=["E"])


def test_validation_on_other_speakers(corpus, tmp_path):
    splits = prepare(corpus, tmp_path, valid_share=0.3)
    assert len(speakers(splits["valid"])) == 2  # of 7
    check_disjoint(splits, ("speaker",))


def test_validation_on_other_videos_of_the_same_speakers(corpus, tmp_path):
    splits = prepare(corpus, tmp_path, valid_by="video", valid_share=0.5)
    assert speakers(splits["valid"]) == speakers(splits["train"])
    assert len(splits["valid"]) == len(splits["train"]) == 14
    check_disjoint(splits, ("speaker", "source"))


def test_the_seed_decides_and_the_same_seed_gives_the_same(corpus, tmp_path):
    chosen = [
        tuple(sorted(speakers(prepare(corpus, tmp_path / f"{n}", seed=seed)["valid"])))
        for n, seed in enumerate([1, 1, 2, 3, 4, 5])
    ]
    assert chosen[0] == chosen[1] and len(set(chosen)) > 1


# Trials


def test_trials_name_rows_of_the_test_set(corpus, tmp_path):
    splits = prepare(corpus, tmp_path)
    trials = read_trials(trials_path(tmp_path, "O_cleaned"))
    clip = f"voxceleb1_id10270--{FIRST}--0000"
    assert trials[0] == (f"{clip}1", f"{clip}2", 1)
    # 2 speakers x (3 targets + 4 nontargets)
    assert sum(target for _, _, target in trials) == 6 and len(trials) == 14
    speaker_of = {row["ID"]: row["speaker"] for row in splits["test"]}
    for enrol, test, target in trials:
        assert (speaker_of[enrol] == speaker_of[test]) == target


def test_trials_without_audio_are_counted_and_too_many_are_an_error(tmp_path, caplog):
    root = voxceleb1_tree(tmp_path / "corpus")
    (root / f"wav/id10270/{SECOND}/00002.wav").unlink()  # in one target, one nontarget trial
    with pytest.raises(ValueError, match="14.3%(.|\n)*trial without audio.*00002"):
        prepare(root, tmp_path / "csv")
    assert not list((tmp_path / "csv").glob("trials*"))
    caplog.set_level("INFO")
    prepare(root, tmp_path / "csv", skip_limit=0.2)  # an incomplete run is not taken for complete
    assert len(read_trials(trials_path(tmp_path / "csv", "O_cleaned"))) == 12
    assert "left out 2 of 14: trial without audio" in caplog.text


def test_odd_lines_in_a_list(tmp_path, caplog):
    root = voxceleb1_tree(tmp_path / "corpus")
    good = trial_lines(["id10270", "id10271"])
    path = f"id10270/{FIRST}/00001.wav"
    odd = ["", "1 " + path, f"0 {path} {path}", f"1 {path} ../../../etc/passwd", "2 a b", "1 é"]
    write_lines(root / "meta/veri_test2.txt", good + odd, end="\r\n", bom=True)
    caplog.set_level("INFO")
    prepare(root, tmp_path / "csv", skip_limit=0.3)
    assert len(read_trials(trials_path(tmp_path / "csv", "O_cleaned"))) == 14
    assert "left out 5 of 19: malformed trial" in caplog.text
    assert "veri_test2.txt, line 17: 0 id10270" in caplog.text  # the label contradicts


def test_a_missing_list_or_unknown_name_is_named(tmp_path):
    root = voxceleb1_tree(tmp_path)
    (root / "meta/veri_test2.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no veri_test2.txt .trials O_cleaned"):
        prepare(root, tmp_path / "csv")
    known = "O, O_cleaned, E, E_cleaned, H, H_cleaned"
    with pytest.raises(ValueError, match=f"'X' is no list of trials; there are {known}"):
        prepare(root, tmp_path / "csv", trials=["X"])


# Identification


def test_the_official_split_of_all_speakers(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    splits = prepare(corpus, tmp_path, protocol="identification")
    found = {
        f"{code} {row['wav'].split('/wav/')[1]}"
        for code, side in zip("123", ("train", "valid", "test"), strict=True)
        for row in splits[side]
    }
    assert found == set(split_lines(SPEAKERS_1))
    assert all(speakers(rows) == set(SPEAKERS_1) for rows in splits.values())
    assert splits["test"][0]["gender"] and not list(tmp_path.glob("trials*"))
    assert f"noted 6: clips of a video in several splits of iden_split.txt (id10001/{FIRST}" in (
        caplog.text
    )


def test_what_is_not_in_the_split_or_not_there_is_counted(tmp_path, caplog):
    root = voxceleb1_tree(tmp_path / "corpus")
    write_wav(root / f"wav/id10001/{FIRST}/00009.wav", 0.2)
    (root / f"wav/id10002/{SECOND}/00002.wav").unlink()
    odd = ["4 id10001/x/00001.wav", "3 id10001/x/../00001.wav"]
    lines = [*split_lines(SPEAKERS_1), "", *odd]
    write_lines(root / "meta/iden_split.txt", lines, end="\r\n", bom=True)
    with pytest.raises(ValueError, match="more than the limit"):
        prepare(root, tmp_path / "csv", protocol="identification")
    caplog.set_level("INFO")
    splits = prepare(root, tmp_path / "csv", protocol="identification", skip_limit=0.2)
    assert sum(map(len, splits.values())) == 23
    for report in (
        f"left out 2 of 26: malformed line of iden_split.txt (line 26: {odd[0]}",
        f"clip of iden_split.txt without audio (voxceleb1_id10002--{SECOND}--00002)",
        f"protocol 1: clip is not in iden_split.txt (wav/id10001/{FIRST}/00009.wav)",
    ):
        assert report in caplog.text, report


def test_a_split_that_contradicts_itself_or_is_not_there(tmp_path):
    root = voxceleb1_tree(tmp_path / "corpus")
    path, lines = root / "meta/iden_split.txt", split_lines(SPEAKERS_1)
    write_lines(path, [*lines, "3" + lines[0][1:]])
    with pytest.raises(ValueError, match="iden_split.txt, line 25: 3 .* is in train by an earlier"):
        prepare(root, tmp_path / "csv", protocol="identification")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no iden_split.txt, .* the VoxCeleb site offers"):
        prepare(root, tmp_path / "csv", protocol="identification")


# Segments


def test_segments_cover_train_and_leave_tests_whole(tmp_path):
    root = voxceleb1_tree(tmp_path / "corpus", seconds=0.5)
    splits = prepare(root, tmp_path / "csv", segment_seconds=0.2)
    first, second = splits["train"][:2]
    assert first["ID"] + "|" + second["ID"] == "|".join(
        f"{first['speaker']}--{FIRST}--00001_{ends}" for ends in ("0.0_0.2", "0.2_0.4")
    )
    assert (second["start"], second["stop"], second["duration"]) == ("3200", "6400", "0.2")
    assert first["wav"] == second["wav"]
    assert len(splits["train"]) == 2 * 12
    assert {(row["start"], row["duration"]) for row in splits["test"]} == {("", "0.5")}


def test_an_interrupted_run_leaves_no_csv_and_a_rerun_is_whole(corpus, tmp_path, monkeypatch):
    from data_prep import voxceleb_prepare

    def interrupted(*arguments):
        yield from list(rows(*arguments))[:5]
        raise KeyboardInterrupt

    rows = voxceleb_prepare.make_rows
    monkeypatch.setattr(voxceleb_prepare, "make_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(voxceleb_prepare, "make_rows", rows)
    assert len(prepare(corpus, tmp_path)["test"]) == 8
    monkeypatch.setattr(voxceleb_prepare, "make_rows", None)
    prepare(corpus, tmp_path)  # prepared: nothing is read again
    with pytest.raises(TypeError):
        prepare(corpus, tmp_path, seed=2)  # other settings: prepared anew


def test_wrong_folders(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not look like VoxCeleb.*\n.*wav/id10001"):
        prepare(corpus / "voxceleb1/meta", tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        prepare(tmp_path / "nowhere", tmp_path)
    with pytest.raises(FileNotFoundError, match="no vox1_meta.csv"):
        prepare(corpus / "voxceleb1/wav", tmp_path, trials=[])
    with pytest.raises(ValueError, match="no speaker of voxceleb2 is there"):
        prepare(corpus / "voxceleb1", tmp_path, train_on=["voxceleb2"])


@pytest.mark.parametrize(
    "options",
    [
        {"valid_by": "clip"},
        {"valid_share": 0.7},
        {"segment_seconds": 0.0},
        {"protocol": "asv"},
        {"trials": ["O"], "protocol": "identification"},
        {"train_on": ["voxceleb2"], "protocol": "identification"},
    ],
)
def test_wrong_options(corpus, tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        prepare(corpus, tmp_path, **options)


def test_command_line(corpus, tmp_path):
    folders = ["--data_folder", str(corpus), "--save_folder", str(tmp_path)]
    run(prepare_voxceleb, [*folders, "--trials", "E", "H", "--train_on", "voxceleb2"])
    assert len(read_trials(trials_path(tmp_path, "E"))) == 42


def test_voxceleb2_that_is_added_is_seen(tmp_path):
    voxceleb1_tree(tmp_path / "corpus/voxceleb1")
    before = prepare(tmp_path / "corpus", tmp_path / "csv")
    voxceleb2_tree(tmp_path / "corpus/voxceleb2")
    after = prepare(tmp_path / "corpus", tmp_path / "csv")
    assert speakers(after["train"]) > speakers(before["train"])
