"""Corpora of acted emotion, in their official layouts and as real copies are."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from trees import read_splits, write_lines, write_wav
from trees_acted_emotion import LAYOUTS, acted_tree

from data_prep.acted_emotion.confounds import find_confounds
from data_prep.acted_emotion.corpora import CORPORA, EMOTIONS, EMOTTS
from data_prep.acted_emotion.files import read_name
from data_prep.acted_emotion_prepare import assign_speakers, prepare_acted_emotion
from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run

HUMAN = Path(__file__).parents[3] / "shared/human"


def prepare(root, corpus, save_folder=None, **options):
    folder = save_folder or root / "csv"
    prepare_acted_emotion(str(root), str(folder), corpus, **options)
    return read_splits(folder)


def every(splits):
    return [row for rows in splits.values() for row in rows]


def row_of(splits, identity):
    return next(row for row in every(splits) if row["ID"] == identity)


# What names tell

EXPECTED = {
    "nemo_WR0_surprised_90": {
        **{"language": "pol", "speaker": "nemo_WR0", "gender": "male", "age": "23"},
        **{"emotion": "surprise", "sentence_id": "90", "text": "Zdanie 90."},
    },
    "ravdess_03-01-08-01-02-01-02": {
        **{"language": "eng", "speaker": "ravdess_02", "gender": "female", "age": ""},
        **{"emotion": "surprise", "sentence_id": "02", "text": "Dogs are sitting by the door."},
    },
    "emodb_03a01La": {
        **{"language": "deu", "speaker": "emodb_03", "gender": "male", "age": "31"},
        **{"emotion": "boredom", "sentence_id": "a01"},
        **{"text": "Der Lappen liegt auf dem Eisschrank."},
    },
    "emovo_pau-f1-b1": {
        **{"language": "ita", "speaker": "emovo_f1", "gender": "female", "age": ""},
        **{"emotion": "fear", "sentence_id": "b1", "text": "Gli operai si alzano presto."},
    },
    "cremad_1002_IEO_DIS_XX": {
        **{"language": "eng", "speaker": "cremad_1002", "gender": "female", "age": "21"},
        **{"emotion": "disgust", "sentence_id": "IEO", "text": "It's eleven o'clock."},
    },
    "savee_KL_su02": {
        **{"language": "eng", "speaker": "savee_KL", "gender": "male", "age": ""},
        **{"emotion": "surprise", "sentence_id": "", "text": ""},
    },
    "urdu_SF10_F1_A01": {
        **{"language": "urd", "speaker": "urdu_SF10", "gender": "female", "age": ""},
        **{"emotion": "anger", "sentence_id": "", "text": ""},
    },
    "ased_a5-02-01-02-50": {
        **{"language": "amh", "speaker": "ased_50", "gender": "male", "age": ""},
        **{"emotion": "anger", "sentence_id": "02", "text": ""},
    },
    "emotts_emf00301": {
        **{"language": "kor", "speaker": "emotts_emf", "gender": "male", "emotion": "anger"},
        **{"sentence_id": "plain-to-emotional_01", "text": "문장 01."},
    },
}


@pytest.mark.parametrize("identity", EXPECTED)
def test_a_row_holds_what_name_and_table_tell(tmp_path, identity):
    corpus = identity.partition("_")[0]
    expected = EXPECTED[identity] | {"source": corpus}
    row = row_of(prepare(acted_tree(tmp_path, corpus), corpus), identity)
    assert {name: row[name] for name in expected} == expected


def test_two_speakers_are_one_split_and_carry_their_ages(tmp_path):
    root = acted_tree(tmp_path, "tess")
    (root / "OAF_Sad/OAF_back_sad.wav").rename(root / "OAF_Sad/OA_back_sad.wav")  # as one file is
    with pytest.raises(ValueError, match="2 speakers .*: split=corpus side=test"):
        prepare(root, "tess")
    splits = prepare(root, "tess", split="corpus", side="test")
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 0, "valid": 0, "test": 8}
    row = row_of(splits, "tess_OA_back_sad")
    assert (row["speaker"], row["age"], row["text"]) == ("tess_OA", "64", "Say the word back.")
    assert Counter(row["emotion"] for row in splits["test"]) == {"surprise": 4, "sadness": 4}


def test_all_descriptions_use_one_vocabulary():
    assert {emotion for corpus in CORPORA.values() for emotion in corpus.emotions.values()} == set(
        EMOTIONS
    )
    assert set(LAYOUTS) == set(CORPORA)


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_example_that_errors_show_is_one_of_the_corpus(corpus):
    assert read_name(CORPORA[corpus].example.partition(" ")[0], CORPORA[corpus])


def test_anger_and_sadness_of_the_korean_corpus_are_as_its_sentences_have_them():
    told = {
        number: read_name(f"emotional-to-emotional/nea/wav/nea00{number}.wav", EMOTTS)["emotion"]
        for number in (100, 101, 201, 300, 301, 400)
    }
    assert list(told.values()) == [
        *("neutral", "happiness", "sadness", "sadness", "anger", "anger"),
    ]
    assert read_name("emotional-to-emotional/nea/wav/nea00401.wav", EMOTTS) is None
    assert read_name("plain-to-emotional/ema/wav/emb00001.wav", EMOTTS) is None


def test_speakers_without_emotions_are_kept(tmp_path):
    splits = prepare(acted_tree(tmp_path, "emotts"), "emotts")
    row = row_of(splits, "emotts_kih00001")
    assert (row["emotion"], row["gender"], row["sentence_id"]) == ("", "", "")


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".mp3", ".opus", ".WAV"])
def test_other_extensions(tmp_path, extension):
    root = acted_tree(tmp_path, "savee")
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_suffix(extension))
    assert len(every(prepare(root, "savee"))) == 24


# Splits


@pytest.mark.parametrize("corpus", sorted(set(CORPORA) - {"tess"}))
def test_no_speaker_is_in_two_splits(tmp_path, corpus):
    splits = prepare(acted_tree(tmp_path, corpus), corpus)
    assert all(splits.values())
    check_disjoint(splits, ("speaker",))


def made_up(genders, emotions=("anger", "fear")):
    return [
        {"speaker": f"{gender}{number}", "gender": gender, "emotion": emotion}
        for gender, count in genders.items()
        for number in range(count)
        for emotion in emotions
    ]


@pytest.mark.parametrize(
    "genders, counts",
    [
        ({"male": 12, "female": 12}, {"train": 12, "valid": 4, "test": 8}),
        ({"male": 5, "female": 4}, {"train": 4, "valid": 2, "test": 3}),
    ],
)
def test_both_genders_are_on_every_side(genders, counts):
    splits = assign_speakers(made_up(genders), 0.15, 0.35, seed=1)
    assert Counter(splits.values()) == counts
    for side in counts:
        assert len({name.rstrip("0123456789") for name in splits if splits[name] == side}) == 2


def test_the_seed_decides():
    rows = made_up({"male": 12, "female": 12})
    draws = [assign_speakers(rows, 0.15, 0.35, seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_every_emotion_of_the_test_is_in_the_training():
    rows = made_up({"male": 6}) + [
        {"speaker": f"male{n}", "gender": "male", "emotion": "calm"} for n in (0, 1)
    ]
    for seed in range(20):
        splits = assign_speakers(rows, 0.15, 0.35, seed)
        assert "train" in (splits["male0"], splits["male1"])


def test_an_emotion_that_cannot_be_in_the_training_is_an_error():
    rows = [
        {"speaker": emotion, "gender": "", "emotion": emotion}
        for emotion in ("fear", "anger", "calm")
    ]
    with pytest.raises(ValueError, match="no division .*split=corpus"):
        assign_speakers(rows, 0.15, 0.35, seed=1)


# Traps


def test_sentences_of_one_emotion_are_left_out_unless_asked_for(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "ased")
    assert {row["sentence_id"] for row in every(prepare(root, "ased"))} == {"01", "02"}
    assert "left out by the protocol 12: sentence is said with one emotion only" in caplog.text
    splits = prepare(root, "ased", all_sentences=True)
    assert {row["sentence_id"] for row in every(splits)} == {"01", "02", "07"}


def test_words_that_tell_the_emotion():
    rows = [{"speaker": s, "duration": 1.0} for s in "ab" for _ in range(2)]
    emotions = ("x", "y", "x", "y")
    told = [row | {"emotion": e, "text": e} for row, e in zip(rows, emotions, strict=True)]
    assert find_confounds(told) == [
        "4 of 4 utterances are of sentences that are said with one emotion only: "
        "the words reveal the emotion"
    ]
    assert find_confounds([row | {"text": "the same"} for row in told]) == []


def test_speakers_of_one_emotion_are_warned_of(tmp_path, caplog):
    root = acted_tree(tmp_path, "urdu")
    for path in list(root.glob("Sad/SM*")) + list(root.glob("Angry/SF*")):
        path.unlink()
    prepare(root, "urdu")
    assert "URDU: 6 of 6 speakers act one emotion only" in caplog.text


def test_a_copy_whose_files_are_cut_to_one_length_is_warned_of(tmp_path, caplog):
    root = acted_tree(tmp_path, "emodb")
    for path in root.rglob("*.wav"):
        write_wav(path, 0.5)
    prepare(root, "emodb")
    assert "EMO-DB: 24 of 24 files last 0.50 s: this copy is cut" in caplog.text


# What real copies have wrong


def test_a_corpus_that_lies_in_a_folder_twice_is_taken_once(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "ravdess")
    for folder in list(root.iterdir()):
        shutil.copytree(folder, root / "audio_speech_actors_01-24" / folder.name)
    assert len(every(prepare(root, "ravdess"))) == 24
    assert "noted 24: utterance is there twice, taken once" in caplog.text
    write_wav(root / "audio_speech_actors_01-24" / LAYOUTS["ravdess"][0], 1.0)
    with pytest.raises(ValueError, match="03-01-01-01-01-01-01.wav are one utterance .* differ"):
        prepare(root, "ravdess")


def test_the_wav_of_a_recording_is_taken_before_its_mp3(tmp_path):
    root = acted_tree(tmp_path, "cremad")
    for path in list(root.glob("AudioWAV/*")):
        write_wav(root / "AudioMP3" / f"{path.stem}.mp3", 1.0)
    write_wav(root / "AudioWAV/1004_IEO_SAD_X.wav", 0.2)  # as one name of the corpus ends
    rows = every(prepare(root, "cremad"))
    assert len(rows) == 25 and all("AudioWAV" in row["wav"] for row in rows)


def test_songs_and_hidden_files_are_passed_over(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "ravdess")
    write_wav(root / "Actor_01/03-02-01-01-01-01-01.wav", 0.2)
    (root / "Actor_01/._03-01-01-01-01-01-01.wav").write_bytes(b"\0")
    assert len(every(prepare(root, "ravdess"))) == 24
    assert "left out by the protocol 1: song (Actor_01/03-02-01" in caplog.text


def test_names_of_no_rule_are_counted_with_an_example(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "emodb")
    write_wav(root / "wav/takes.wav", 0.2)
    with pytest.raises(
        ValueError, match=r"4.0%(.|\n)*file is not named as in EMO-DB .*wav/takes.wav"
    ):
        prepare(root, "emodb")
    assert len(every(prepare(root, "emodb", skip_limit=0.1))) == 24
    assert (
        "left out 1 of 25: file is not named as in EMO-DB (like wav/03a01Fa.wav) (wav/"
        in caplog.text
    )


def test_a_code_that_stands_for_no_emotion_is_none_of_the_corpus():
    assert read_name("Actor_01/03-01-09-01-01-01-01.wav", CORPORA["ravdess"]) is None


def test_another_corpus_is_an_error_that_shows_the_names_expected(tmp_path):
    root = acted_tree(tmp_path, "emodb")
    with pytest.raises(
        ValueError, match=r"names its files like f1/dis-f1-b1.wav, matching .*wav/03a01"
    ):
        prepare(root, "emovo")
    with pytest.raises(ValueError, match="corpus 'emo' is none of nemo, ravdess"):
        prepare(root, "emo")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        prepare(root / "no", "emodb")
    (root / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no audio"):
        prepare(root / "empty", "emodb")


def test_links_out_of_the_folder_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path / "corpus", "emodb")
    outside = write_wav(tmp_path / "mine.wav", 0.2)
    (root / "wav/03a02Fa.wav").symlink_to(outside)
    assert len(every(prepare(root, "emodb", skip_limit=0.1))) == 24
    assert "left out 1 of 25: audio: link that leaves the folder (wav/03a02Fa.wav)" in caplog.text


def test_a_linked_folder_is_not_entered_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path / "corpus", "emodb")
    write_wav(tmp_path / "more/03a02Fa.wav", 0.2)
    (root / "more").symlink_to(tmp_path / "more")
    assert len(every(prepare(root, "emodb", skip_limit=0.1))) == 24
    assert "left out 1 of 25: linked folder is not entered" in caplog.text


def test_broken_audio_is_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "emodb")
    (root / "wav/03a01Wa.wav").write_bytes(b"")
    os.mkfifo(root / "wav/08a02Fa.wav")
    assert len(every(prepare(root, "emodb", skip_limit=0.1))) == 23
    assert "audio: empty file" in caplog.text and "audio: not a regular file" in caplog.text


def test_a_name_that_is_not_utf8_can_be_shown(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "emodb")
    shutil.copy(root / "wav/03a01Wa.wav", os.fsencode(root) + b"/wav/\xff.wav")
    assert len(every(prepare(root, "emodb", skip_limit=0.1))) == 24
    assert r"wav/\udcff.wav" in caplog.text


def test_a_table_that_is_not_there_leaves_cells_empty_and_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "cremad")
    (root / "VideoDemographics.csv").unlink()
    assert {(row["gender"], row["age"]) for row in every(prepare(root, "cremad"))} == {("", "")}
    assert "table is missing: its columns (gender, age) stay empty" in caplog.text


def test_a_truncated_table_is_noted_and_a_file_that_is_not_there_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "nemo")
    lines = (root / "data.tsv").read_text().splitlines()
    write_lines(root / "data.tsv", [*lines[:-1], lines[1].replace("WR0_", "ZZ9_"), "half a"])
    prepare(root, "nemo", skip_limit=0.1)
    assert "left out 1 of 26: audio: no such file (data.tsv: ZZ9_surprised_1)" in caplog.text
    assert "left out 1 of 26: malformed line in the table" in caplog.text
    assert "noted 1: name is not in data.tsv (samples/MP0_anger_90.wav)" in caplog.text


def test_a_table_with_a_key_twice_is_an_error(tmp_path):
    root = acted_tree(tmp_path, "nemo")
    lines = (root / "data.tsv").read_text().splitlines()
    write_lines(root / "data.tsv", [*lines, lines[1]])
    with pytest.raises(ValueError, match="data.tsv, line 26: file_id .* comes twice"):
        prepare(root, "nemo")


def test_a_text_that_is_not_there_is_noted(tmp_path, caplog):
    caplog.set_level("INFO")
    root = acted_tree(tmp_path, "emotts")
    next(root.rglob("transcript/nea00001.txt")).unlink()
    assert row_of(prepare(root, "emotts"), "emotts_nea00001")["text"] == ""
    assert "noted 1: text file is missing" in caplog.text


def test_a_prepared_corpus_is_not_read_again_and_a_new_file_is_seen(tmp_path, monkeypatch):
    root = acted_tree(tmp_path, "emodb")
    rows = prepare(root, "emodb")
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.acted_emotion_prepare.choose_files", None)
        assert prepare(root, "emodb") == rows
    write_wav(root / "wav/03a02Fa.wav", 0.2)
    assert len(every(prepare(root, "emodb"))) == 25


def test_command_line(tmp_path):
    folders = ["--data_folder", str(acted_tree(tmp_path, "savee")), "--save_folder"]
    run(prepare_acted_emotion, [*folders, str(tmp_path / "csv"), "--corpus", "savee"])
    counts = {side: len(rows) for side, rows in read_splits(tmp_path / "csv").items()}
    assert counts == {"train": 12, "valid": 6, "test": 6}


# Recordings of people, where they are

SIZES = {"nemo": (4481, 9), "ravdess": (1440, 24), "emotts": (1328, 41)}


@pytest.mark.parametrize("corpus", SIZES)
def test_the_corpora_themselves(tmp_path, corpus):
    if not (HUMAN / corpus).is_dir():
        pytest.skip("needs ../shared/human")
    splits = prepare(HUMAN / corpus, corpus, tmp_path, num_workers=1)
    rows = every(splits)
    assert (len(rows), len({row["speaker"] for row in rows})) == SIZES[corpus]
    acted = {side: {r["emotion"] for r in some} - {""} for side, some in splits.items()}
    assert acted["train"] == acted["test"] == set(CORPORA[corpus].emotions.values())
