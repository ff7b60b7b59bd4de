"""IEMOCAP in its release's layout, whole and as real copies are."""

from collections import Counter

import pytest
from trees import read_splits, write_lines, write_wav
from trees_iemocap import iemocap_tree, label_line

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.iemocap_prepare import EMOTIONS, prepare_iemocap


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return iemocap_tree(tmp_path_factory.mktemp("iemocap"))


def prepare(root, save_folder, **options):
    prepare_iemocap(str(root), str(save_folder), **options)
    return {folder.name: read_splits(folder) for folder in sorted(save_folder.iterdir())}


def add(root, *lines, kind="EmoEvaluation", encoding="utf-8"):
    path = root / f"Session1/dialog/{kind}/Ses01F_impro01.txt"
    path.write_bytes(path.read_bytes() + "".join(f"{line}\n" for line in lines).encode(encoding))


def test_a_row_holds_what_the_corpus_tells(corpus, tmp_path):
    rows = prepare(corpus, tmp_path)["fold1"]["test"]
    row = next(r for r in rows if r["ID"] == "iemocap_Ses01M_script01_1b_F002")
    expected = {
        "wav": "$data_root/Session1/sentences/wav/Ses01M_script01_1b/Ses01M_script01_1b_F002.wav",
        "duration": "0.2",
        "language": "eng",
        "speaker": "iemocap_Ses01F",  # who speaks, not whom the file is named for
        "gender": "female",
        "session": "Session1",
        "source": "Ses01M_script01_1b",
        "scenario": "scripted",
        "emotion": "happy",  # excited
        "valence": "2.5000",
        "activation": "3.0000",
        "dominance": "3.5000",
        "text": "Turn 2: excuse me.",
    }
    assert {name: row[name] for name in expected} == expected


def test_four_classes(corpus, tmp_path):
    fold = prepare(corpus, tmp_path)["fold1"]
    # 5 labels of four classes x 2 actors x 2 dialogues, of which happy and excited are one
    counts = Counter(row["emotion"] for row in fold["test"])
    assert counts == {"angry": 4, "happy": 8, "sad": 4, "neutral": 4}


def test_all_classes_keep_every_utterance_and_disagreement_is_empty(corpus, tmp_path):
    fold = prepare(corpus, tmp_path, classes="all")["fold1"]
    counts = Counter(row["emotion"] for row in fold["test"])
    names = {"angry", "happy", "excited", "sad", "neutral", "frustrated", "other", ""}
    assert counts == dict.fromkeys(names, 4)
    assert len(EMOTIONS) == 11


def test_superb_validates_on_a_fifth_of_the_other_sessions(corpus, tmp_path):
    folds = prepare(corpus, tmp_path)  # the default
    assert list(folds) == [f"fold{n}" for n in range(1, 6)]
    for n, fold in enumerate(folds.values(), start=1):
        assert [len(fold[side]) for side in ("train", "valid", "test")] == [64, 16, 20]
        assert {row["session"] for row in fold["test"]} == {f"Session{n}"}
        learned = {"train": fold["train"] + fold["valid"], "test": fold["test"]}
        check_disjoint(learned, ("speaker",))
        check_disjoint(fold, ("ID",))
        assert {row["speaker"] for row in fold["valid"]} & {row["speaker"] for row in fold["train"]}
    held = [{row["ID"] for row in fold["valid"]} for fold in folds.values()]
    assert len(set.union(*held)) > len(held[0])  # no draw is that of another fold


def test_the_seed_draws_what_validates_and_nothing_else(corpus, tmp_path):
    def drawn(name, **options):
        fold = prepare(corpus, tmp_path / name, **options)["fold2"]
        return [{row["ID"] for row in fold[side]} for side in ("valid", "test")]

    first, again, other = drawn("a"), drawn("b", num_workers=1), drawn("c", seed=1)
    assert first == again
    assert first[0] != other[0] and first[1] == other[1]


def test_superb_is_refused_where_a_test_speaker_is_learned(corpus, tmp_path, monkeypatch):
    from data_prep import iemocap_prepare

    read = iemocap_prepare.read_rows

    def mixed(*arguments):
        for session, row in read(*arguments):
            wrong = row["ID"] == "iemocap_Ses01F_impro01_F000"
            yield session, row | ({"session": "Session2"} if wrong else {})

    monkeypatch.setattr(iemocap_prepare, "read_rows", mixed)
    with pytest.raises(AssertionError, match="'iemocap_Ses01F' is in both train or valid and test"):
        prepare(corpus, tmp_path)


def test_each_session_is_tested_once_and_the_next_one_validates(corpus, tmp_path):
    folds = prepare(corpus, tmp_path, leave_out="session")
    sessions = {
        name: [{row["session"] for row in fold[side]} for side in ("test", "valid")]
        for name, fold in folds.items()
    }
    assert sessions == {f"fold{n}": [{f"Session{n}"}, {f"Session{n % 5 + 1}"}] for n in range(1, 6)}
    for fold in folds.values():
        check_disjoint(fold, ("speaker",))
        check_disjoint(fold, ("source",))
        assert sum(map(len, fold.values())) == 100


def test_each_speaker_is_tested_once_and_none_of_its_session_is_in_train(corpus, tmp_path):
    folds = prepare(corpus, tmp_path, leave_out="speaker")
    tested = [{row["speaker"] for row in fold["test"]} for fold in folds.values()]
    assert len(folds) == 10 and len(set.union(*tested)) == 10
    for fold in folds.values():
        check_disjoint(fold, ("speaker",))
        held_out = {row["session"] for row in fold["test"] + fold["valid"]}
        assert len(held_out) == 1
        assert not held_out & {row["session"] for row in fold["train"]}


def test_folds_of_other_settings_are_removed_and_nothing_else(corpus, tmp_path):
    prepare(corpus, tmp_path, leave_out="speaker")
    for name in ("fold7/notes.txt", "fold8/train.csv", "fold11/train.csv", "folder/train.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    for name in ("fold11", "folder"):  # of another corpus; not a fold
        (tmp_path / name / "prepare_settings.json").write_text('{"corpus": "mine"}')
    (tmp_path / "fold8/prepare_settings.json").unlink()  # nobody knows whose they are
    old = tmp_path / "fold10/prepare_settings.json"
    old.write_text('{"data_folder": "x", "classes": "four", "leave_out": "speaker"}')  # no seed yet
    prepare_iemocap(str(corpus), str(tmp_path))
    there = {path.name: sorted(file.name for file in path.iterdir()) for path in tmp_path.iterdir()}
    csvs = ["test.csv", "train.csv", "valid.csv"]
    assert there == {
        **{f"fold{n}": ["prepare_settings.json", *csvs] for n in range(1, 6)},
        "fold7": ["notes.txt"],
        "fold8": csvs,
        "fold11": ["prepare_settings.json", "train.csv"],
        "folder": ["prepare_settings.json", "train.csv"],
    }


def test_an_interrupted_change_of_protocol_leaves_no_fold_of_the_old_one(
    corpus, tmp_path, monkeypatch
):
    from data_prep import iemocap_prepare

    prepare(corpus, tmp_path, leave_out="session")
    monkeypatch.setattr(iemocap_prepare, "write_corpus", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_that_cannot_be_read_leaves_the_old_folds(corpus, tmp_path, monkeypatch):
    before = prepare(corpus, tmp_path, leave_out="speaker")
    monkeypatch.setattr("data_prep.iemocap_prepare.read_rows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(corpus, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(before)


@pytest.mark.parametrize("options", [{"leave_out": "dialogue"}, {"classes": "five"}])
def test_unknown_options(corpus, tmp_path, options):
    with pytest.raises(ValueError, match="superb, session or speaker"):
        prepare_iemocap(str(corpus), str(tmp_path), **options)


def test_what_real_copies_have_wrong(tmp_path, caplog):
    root = iemocap_tree(tmp_path / "corpus")
    wavs = root / "Session1/sentences/wav/Ses01F_impro01"
    write_wav(wavs / "Ses01F_impro01_F100.wav", 0.2, sample_rate=44100, channels=2)
    (wavs / "Ses01F_impro01_F101.wav").touch()
    (wavs / "._Ses01F_impro01_F000.wav").write_bytes(b"\x00\x05\x16\x07")
    add(
        root,
        label_line("Ses01F_impro01_F100"),
        label_line("Ses01F_impro01_F101"),
        label_line("Ses01F_impro01_F102"),  # no such file
        label_line("Ses01F_impro01_F000", "ang"),  # labelled before
        "[8.1 - 9.2]\tSes01F_impro01_F103",
    )
    add(root, "Ses01F_impro01_F100 [1.0-2.0]: It’s odd.", "", "no utterance", 
        kind="transcriptions", encoding="cp1252")  # fmt: skip
    evaluation = root / "Session1/dialog/EmoEvaluation"
    (evaluation / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07\xff")
    write_lines(evaluation / "notes.txt", [label_line("Ses01F_impro01_F100")])
    old = (evaluation / "Ses01M_script01_1b.txt").read_text()
    write_lines(evaluation / "Ses01M_script01_1b.txt", old.splitlines(), end="\r\n", bom=True)

    caplog.set_level("INFO")
    fold = prepare(root, tmp_path / "csv", skip_limit=0.1)["fold1"]
    assert len(fold["test"]) == 21
    odd = next(row for row in fold["test"] if row["ID"].endswith("F100"))
    assert odd["text"] == "It’s odd." and odd["duration"] == "0.2"
    for report in (
        "left out 1 of 104: malformed line (Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        "left out 1 of 104: audio: no such file",
        "left out 1 of 104: audio: empty file",
        "noted 1: labelled twice",
        "noted 1: line is not UTF-8, read as Windows-1252 (Session1/dialog/transcriptions",
        "noted 1: sample rate 44100 Hz",
        "noted 1: 2 channels",
    ):
        assert report in caplog.text, report


def test_too_much_missing_is_an_error(tmp_path):
    root = iemocap_tree(tmp_path / "corpus", labels=["neu"])
    (root / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav").unlink()
    with pytest.raises(ValueError, match="5.0%(.|\n)*no such file.*Ses02F_impro01_F000.wav"):
        prepare_iemocap(str(root), str(tmp_path / "csv"))
    assert not (tmp_path / "csv").exists()


def test_ratings_out_of_range_stay_empty(tmp_path):
    root = iemocap_tree(tmp_path / "corpus", labels=["neu"])
    write_wav(root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F100.wav", 0.2)
    add(root, label_line("Ses01F_impro01_F100", ratings="[2.5, 99.0, 1.2.3]"))
    rows = prepare(root, tmp_path / "csv")["fold1"]["test"]
    odd = next(row for row in rows if row["ID"].endswith("F100"))
    assert (odd["valence"], odd["activation"], odd["dominance"]) == ("2.5", "", "")


def test_an_interrupted_run_goes_on(corpus, tmp_path, monkeypatch):
    from data_prep import iemocap_prepare

    written, write = [], iemocap_prepare.write_corpus

    def interrupted(folder, *arguments, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(folder)
        write(folder, *arguments, **options)

    monkeypatch.setattr(iemocap_prepare, "write_corpus", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_iemocap(str(corpus), str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold1", "fold2"]
    monkeypatch.setattr(iemocap_prepare, "write_corpus", write)
    assert len(prepare(corpus, tmp_path)) == 5


def test_a_prepared_corpus_is_not_read_again(corpus, tmp_path, monkeypatch):
    rows = prepare(corpus, tmp_path)
    monkeypatch.setattr("data_prep.iemocap_prepare.read_rows", None)
    assert prepare(corpus, tmp_path) == rows


def test_wrong_folder(tmp_path):
    iemocap_tree(tmp_path / "IEMOCAP_full_release", labels=["neu"])
    with pytest.raises(FileNotFoundError, match="Session5/dialog(.|\n)*IEMOCAP_full_release looks"):
        prepare_iemocap(str(tmp_path), str(tmp_path / "csv"))


def test_command_line(corpus, tmp_path):
    folders = ["--data_folder", str(corpus), "--save_folder", str(tmp_path)]
    run(prepare_iemocap, [*folders, "--leave_out", "speaker", "--check", "2"])
    assert len(list(tmp_path.iterdir())) == 10
