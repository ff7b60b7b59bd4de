"""A user's own table."""

from collections import Counter

import pytest
from trees import read_splits, write_lines, write_wav

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.custom_prepare import prepare_custom
from masr_modules.data.corpus import load_csv

COLUMNS = {"wav": "path", "speaker": "who", "gender": "sex", "dialect": "dialect"}


def tree(root, speakers=6, clips=2):
    """clips/SPEAKER/N.wav and a table with names of its own."""
    lines = ["path,who,sex,age,dialect,language,text"]
    for speaker in range(speakers):
        for clip in range(clips):
            path = f"clips/s{speaker}/{clip}.wav"
            write_wav(root / path, 0.2, seed=clip)
            text = f'"hello, ""{speaker}"""'
            lines.append(f"{path},s{speaker},{'FM'[speaker % 2]},{20 + speaker},north,pt-BR,{text}")
    return write_lines(root / "meta.csv", lines)


def prepare(root, table="meta.csv", columns=COLUMNS, **options):
    prepare_custom(str(root), str(root / "csv"), table, columns, **options)
    return read_splits(root / "csv")


def every(splits):
    return [row for rows in splits.values() for row in rows]


# Tables


def test_a_row_has_the_schemas_words(tmp_path):
    tree(tmp_path)
    row = next(r for r in every(prepare(tmp_path)) if r["ID"] == "custom_clips--s1--0")
    expected = {
        "wav": "$data_root/clips/s1/0.wav",
        "duration": "0.2",
        "language": "por",
        "language_label": "pt-BR",
        "family": "Indo-European",
        "region": "BR",
        "speaker": "custom_s1",
        "gender": "male",
        "age": "21",
        "dialect": "north",
        "text": 'hello, "1"',
    }
    assert {name: row[name] for name in expected} == expected


def test_speakers_are_divided_and_the_seed_decides(tmp_path):
    tree(tmp_path)
    sides = []
    for seed in (1, 1, 2, 3):
        splits = prepare(tmp_path, seed=seed)
        assert {side: len(rows) for side, rows in splits.items()} == {
            "train": 8,
            "valid": 2,
            "test": 2,
        }
        check_disjoint(splits, ("speaker",))
        sides.append(splits["test"][0]["speaker"])
    assert sides[0] == sides[1] and len(set(sides)) > 1


def test_a_split_column_decides(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tree(tmp_path, speakers=2)
    header, *lines = path.read_text().splitlines()
    names = ["Training", "dev", "val", "test"]
    lines = [f"{line},{split}" for line, split in zip(lines, names, strict=True)]
    write_lines(path, [f"{header},fold", *lines])
    splits = prepare(tmp_path, columns=COLUMNS | {"split": "fold"})
    assert [len(splits[side]) for side in ("train", "valid", "test")] == [1, 2, 1]
    assert "noted 2: speaker or source in two of the given splits" in caplog.text
    write_lines(path, [f"{header},fold", *lines[:2], lines[2].replace(",val", ",late")])
    with pytest.raises(ValueError, match="line 4: split 'late' is unknown"):
        prepare(tmp_path, columns=COLUMNS | {"split": "fold"})


def languages_tree(root, **speakers):
    """As many speakers of each language, of one clip each; s0 speaks all of them."""
    lines = ["wav,speaker,language"]
    for code, number in speakers.items():
        for speaker in range(number):
            write_wav(root / f"{code}{speaker}.wav", 0.2)
            name = "s0" if speaker == 0 else f"{code}{speaker}"
            lines.append(f"{code}{speaker}.wav,{name},{code}")
    return write_lines(root / "meta.csv", lines)


def test_speakers_are_divided_within_each_value_of_a_column(tmp_path, caplog):
    caplog.set_level("INFO")
    languages_tree(tmp_path, fr=20, de=10, ab=4)
    splits = prepare(tmp_path, columns=None, split_within="language")
    check_disjoint(splits, ("speaker",))
    found = {side: Counter(row["language_label"] for row in rows) for side, rows in splits.items()}
    assert found == {
        "train": {"fr": 16, "de": 6, "ab": 4},
        "valid": {"fr": 2, "de": 2},
        "test": {"fr": 2, "de": 2},
    }
    note = "1 of 3 values of language have too few speakers to be in valid and test (ab: 4)"
    assert note in caplog.text


def test_splitting_within_nothing_or_beside_a_split_column_is_an_error(tmp_path):
    path = languages_tree(tmp_path, fr=6)
    with pytest.raises(ValueError, match=r"no column dialect for split_within \(found: language"):
        prepare(tmp_path, columns=None, split_within="dialect")
    path.write_text(path.read_text().replace("speaker,", "split,"))
    with pytest.raises(ValueError, match="meta.csv: a column names the split: leave out"):
        prepare(tmp_path, columns=None, split_within="language")


def test_without_speakers_sources_stay_together_and_else_utterances_are_divided(tmp_path):
    lines = ["wav,source"]
    for number in range(12):
        write_wav(tmp_path / f"{number}.wav", 0.2)
        lines.append(f"{number}.wav,{f'video{number // 2}' if number < 8 else ''}")
    write_lines(tmp_path / "meta.csv", lines)
    splits = prepare(tmp_path, columns=None)
    check_disjoint(splits, ("source",))
    assert len(every(splits)) == 12 and all(splits.values())


def test_constants_fill_what_the_table_does_not_tell(tmp_path):
    tree(tmp_path)
    splits = prepare(tmp_path, constants={"accent": "Brazilian", "device": "phone"})
    assert {(r["accent"], r["device"]) for r in every(splits)} == {("Brazilian", "phone")}


def test_what_is_not_understood_is_noted_and_left_empty(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tree(tmp_path)
    text = path.read_text().replace(",F,20,", ",x,young,").replace('pt-BR,"hello, ""5', 'xx9,"')
    path.write_text(text)
    rows = {row["ID"]: row for row in every(prepare(tmp_path))}
    odd = rows["custom_clips--s0--0"]
    assert odd["gender"] == odd["age"] == "" and odd["language"] == "por"
    unknown = rows["custom_clips--s5--0"]
    assert (unknown["language"], unknown["language_label"]) == ("", "xx9")
    for what in ("gender not", "age not", "unknown language,"):
        assert f"noted 2: {what}" in caplog.text


@pytest.mark.parametrize("word", ["nan", "NA", "N/A", "unknown", "-", "?", "None"])
def test_words_for_not_known_become_empty_cells_and_are_counted(tmp_path, caplog, word):
    caplog.set_level("INFO")
    path = tree(tmp_path)
    text = path.read_text().replace(",20,north,pt-BR,", f",{word},{word},{word},")
    path.write_text(text.replace("s1,M", f"{word},{word}").replace('"hello, ""2"""', word))
    rows = {row["ID"]: row for row in every(prepare(tmp_path))}
    unknown = rows["custom_clips--s0--0"]
    assert not any(unknown[name] for name in ("age", "dialect", "language", "language_label"))
    assert not rows["custom_clips--s1--0"]["speaker"] and not rows["custom_clips--s2--0"]["text"]
    assert rows["custom_clips--s2--0"]["language"] == "por"
    assert f"noted 2: language {word!r} means not known, left empty (" in caplog.text
    assert f"noted 2: speaker {word!r} means not known, left empty (" in caplog.text


def test_a_language_or_region_may_be_spelled_like_not_known(tmp_path, caplog):
    caplog.set_level("INFO")
    lines = [
        "wav,language,region,speaker,text",
        "a.wav,nan,NA,Na,unknown",
        "b.wav,pt,,x,so",
        "c.wav,pt,,y,",
    ]
    write_lines(tmp_path / "meta.csv", lines)
    for name in "abc":
        write_wav(tmp_path / f"{name}.wav", 0.2)
    rows = {row["ID"]: row for row in every(prepare(tmp_path, columns=None))}
    row = rows["custom_a"]
    found = [row[name] for name in ("language", "region", "speaker", "text")]
    assert found == ["nan", "NA", "custom_Na", "unknown"]
    assert "noted 1: language 'nan' is read as a code (see missing)" in caplog.text
    rows = every(prepare(tmp_path, columns=None, missing=["nan", "unknown"]))
    row = next(row for row in rows if row["ID"] == "custom_a")
    assert [row[name] for name in ("language", "region", "text")] == ["", "NA", ""]


def test_forms_of_unicode_and_blanks_divide_no_speaker(tmp_path):
    tree(tmp_path, speakers=3)
    path = tmp_path / "meta.csv"
    text = path.read_text().replace(",s0,", ",e\u0301,", 1).replace(",s0,", ",\u00e9\u200b,")
    path.write_text(text, encoding="utf-8")
    splits = prepare(tmp_path, valid_share=0.34, test_share=0.34)
    assert {row["speaker"] for row in every(splits)} == {"custom_\u00e9", "custom_s1", "custom_s2"}
    assert {side: len(rows) for side, rows in splits.items()} == {"train": 2, "valid": 2, "test": 2}


def test_an_open_quotation_mark_swallows_no_rows(tmp_path):
    path = tree(tmp_path)
    path.write_text(path.read_text().replace('"hello, ""1"""', '"hello', 1))
    with pytest.raises(ValueError, match="meta.csv, line 4: a quotation mark opens there"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "encoding, message",
    [("utf-16", "meta.csv: is UTF-16: save it"), ("latin-1", "not UTF-8 .save the table as UTF-8")],
)
def test_a_table_that_is_not_utf8_says_what_to_do(tmp_path, encoding, message):
    path = tree(tmp_path)
    path.write_bytes(path.read_text().replace("hello", "\u00e9t\u00e9").encode(encoding))
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path)


def test_line_breaks_in_a_text_become_blanks_and_are_read_again(tmp_path):
    path = tree(tmp_path)
    text = path.read_text().replace('"hello, ""0"""', '"one\n\ntwo, three"', 1)
    path.write_bytes(text.replace('"hello, ""0"""', '"one\r\ntwo\rthree"', 1).encode())
    prepare(tmp_path)
    found = {}
    for split in ("train", "valid", "test"):
        found |= dict(load_csv(tmp_path / f"csv/{split}.csv", tmp_path).items())
    texts = [found[f"custom_clips--s0--{n}"]["text"] for n in (0, 1)]
    assert len(found) == 12 and texts == ["one two, three", "one two three"]


def test_a_column_that_comes_twice_is_named(tmp_path):
    path = tree(tmp_path)
    path.write_text(path.read_text().replace("dialect,language", "language,language"))
    with pytest.raises(ValueError, match="meta.csv: column 'language' comes twice"):
        prepare(tmp_path)


def test_what_real_tables_have_wrong(tmp_path, caplog):
    caplog.set_level("INFO")
    tree(tmp_path)
    write_wav(tmp_path / "clips/é ü/0.wav", 0.2, sample_rate=44100, channels=2)
    (tmp_path / "clips/zero.wav").touch()
    write_wav(tmp_path / "clips/nobody named me.wav")
    lines = (tmp_path / "meta.csv").read_text(encoding="utf-8").splitlines()
    lines = [line.replace(",", "\t", 6).replace('"', "") for line in lines]
    row = "s9\tF\t30\tnorth\tpt\tx"
    lines += ["", "cut off\tx", f"clips/é ü/0.wav\t{row}", f"clips/zero.wav\t{row}"]
    lines += [f"clips/missing.wav\t{row}", f"\t{row}"]
    write_lines(tmp_path / "meta.tsv", lines, end="\r\n", bom=True)
    with pytest.raises(ValueError, match="23.5%"):
        prepare(tmp_path, "meta.tsv")
    splits = prepare(tmp_path, "meta.tsv", skip_limit=0.3)
    assert "custom_clips--é ü--0" in {row["ID"] for row in every(splits)}
    for reason in (
        "malformed line in the table",
        "audio: empty file",
        "audio: no such file",
        "no audio named",
    ):
        assert f"left out 1 of 17: {reason}" in caplog.text


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/passwd", "a/../../b.wav"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, path):
    table = tree(tmp_path)
    with open(table, "a") as file:
        file.write(f"{path},s1,F,20,north,pt,x\n")
    with pytest.raises(ValueError, match="meta.csv, line 14: .*refused"):
        prepare(tmp_path)
    assert not (tmp_path / "csv/train.csv").exists()


def test_absolute_paths_inside_the_folder_become_relative(tmp_path):
    table = tree(tmp_path)
    table.write_text(table.read_text().replace("clips/", f"{tmp_path}/clips/"))
    wavs = {row["wav"] for row in every(prepare(tmp_path))}
    assert "$data_root/clips/s0/0.wav" in wavs


def test_missing_columns_and_tables_are_named(tmp_path):
    tree(tmp_path)
    with pytest.raises(ValueError, match=r"no column client \(found: path, who, sex"):
        prepare(tmp_path, columns=COLUMNS | {"speaker": "client"})
    with pytest.raises(ValueError, match="no column wav; map it"):
        prepare(tmp_path, columns=None)
    with pytest.raises(FileNotFoundError, match="other.csv: no such table"):
        prepare(tmp_path, "other.csv")
    with pytest.raises(FileNotFoundError, match="neither dataset_dict.json nor state.json"):
        prepare(tmp_path, None)


def test_an_edited_table_is_prepared_anew(tmp_path):
    table = tree(tmp_path)
    assert len(every(prepare(tmp_path))) == 12
    write_lines(table, table.read_text().splitlines()[:9])
    assert len(every(prepare(tmp_path))) == 8


def test_command_line(tmp_path):
    tree(tmp_path)
    options = ["--columns", *(f"{ours}={theirs}" for ours, theirs in COLUMNS.items())]
    folders = ["--data_folder", str(tmp_path), "--save_folder", str(tmp_path / "csv")]
    run(prepare_custom, [*folders, "--table", "meta.csv", *options, "--check", "all"])
    assert len(every(read_splits(tmp_path / "csv"))) == 12
