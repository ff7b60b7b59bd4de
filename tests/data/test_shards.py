"""Shards hold what the CSV and its files hold, and are read as batches."""

import io
import json

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from masr_modules.data.dataio import read_audio
from masr_modules.data.shards import ShardBatches, ShardLoader, read_shards, write_shards


@pytest.fixture
def corpus(tmp_path):
    """Ten files of half a second with dots, blanks and a comma in their names, and their CSV."""
    lines = ["ID,duration,wav,language,text"]
    for number in range(10):
        name = f"u {number}---0001.5-0002.0.wav"
        samples = 0.1 * np.random.default_rng(number).standard_normal(8000)
        soundfile.write(tmp_path / name, samples, 16000)
        language = "fra" if number % 2 else "deu"
        lines.append(f'u{number}.5,0.5,$data_root/{name},{language},"é, {number}"')
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def write(corpus, **options):
    """Three shards."""
    options = {"shard_hours": 5 / 3600 / 3} | options
    write_shards(corpus / "train.csv", corpus, corpus / "shards", **options)
    return corpus / "shards"


def test_rows_and_audio_come_back_as_they_were(corpus):
    folder = write(corpus)
    assert len(list(folder.glob("*.tar"))) == 3
    read = {row["ID"]: (row, audio) for row, audio in read_shards(folder)}
    assert len(read) == 10
    row, audio = read["u3.5"]
    assert row == {"ID": "u3.5", "duration": 0.5, "language": "fra", "text": "é, 3"}
    assert audio == (corpus / "u 3---0001.5-0002.0.wav").read_bytes()


def test_shards_are_mixed_and_their_order_depends_on_the_seed(corpus):
    folder = write(corpus)
    orders = [[row["ID"] for row, _ in read_shards(folder, seed)] for seed in (0, 0, 3)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) != orders[0]


def test_an_interrupted_run_keeps_complete_shards_and_a_rerun_goes_on(corpus, monkeypatch):
    lost = corpus / "u 9---0001.5-0002.0.wav"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(OSError, match="u 9"):
        write(corpus)
    folder = corpus / "shards"
    complete = {path: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    assert len(complete) < 3 and not (folder / "shards.json").exists()
    with pytest.raises(FileNotFoundError, match="has not run to its end"):
        next(read_shards(folder))
    lost.write_bytes(content)
    write(corpus)
    assert {path: path.stat().st_mtime_ns for path in complete} == complete
    assert len(list(read_shards(folder))) == 10
    monkeypatch.setattr("masr_modules.data.shards._write_shard", None)
    write(corpus)  # nothing is left to do


def test_shards_of_another_csv_are_not_mixed_in(corpus):
    write(corpus)
    with pytest.raises(FileExistsError, match="shards.json: .*delete the folder"):
        write(corpus, seed=5)


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_truncated_shard_is_named(corpus, keep):
    shard = write(corpus) / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[: int(keep * shard.stat().st_size)])
    with pytest.raises(ValueError, match="shard-000001.tar"):
        list(read_shards(corpus / "shards"))


@pytest.mark.parametrize("name", ["pipe:touch HACKED", "../a.tar", "/etc/a.tar", "http://x/a.tar"])
def test_an_index_that_names_anything_but_shards_is_refused(corpus, name, monkeypatch):
    """WebDataset runs what stands behind `pipe:`."""
    write(corpus)
    folder = corpus / "shards"
    index = folder / "shards.json"
    index.write_text(json.dumps({"shards": {name: 1}}))
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="names other files than shard-000000.tar"):
        list(read_shards("."))
    assert not (folder / "HACKED").exists()
    for text in ("[1]", '{"shards": 3}', "{}", "{", '{"shards": {"shard-000000.tar": "x"}}'):
        index.write_text(text)
        with pytest.raises(ValueError, match=r"shards\.json: (is not what|names other)"):
            list(read_shards("."))


def test_a_folder_that_looks_like_a_command_is_a_folder(corpus, monkeypatch):
    write(corpus)
    monkeypatch.chdir(corpus)
    (corpus / "shards").rename("pipe:touch HACKED")
    assert len(list(read_shards("pipe:touch HACKED"))) > 1
    assert not (corpus / "HACKED").exists()


def test_a_shard_that_lost_utterances_is_named(corpus):
    folder = write(corpus)
    index = json.loads((folder / "shards.json").read_text())
    index["shards"]["shard-000000.tar"] += 1
    (folder / "shards.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="shard-000000.tar: holds"):
        list(read_shards(folder))


def by_language(rows, epoch):
    """Batches of one language each."""
    languages = {row["language"] for row in rows}
    return [[i for i, row in enumerate(rows) if row["language"] == lang] for lang in languages]


def test_batches_are_planned_in_windows_and_decoded(corpus):
    batches = list(ShardBatches(write(corpus), by_language, 2, 16000, window=100))
    assert [len(batch) for batch in batches] == [5, 5]
    for batch in batches:
        assert len({int(item["id"][1]) % 2 for item in batch}) == 1
    item = batches[0][0]
    path = str(corpus / f"u {item['id'][1]}---0001.5-0002.0.wav")
    assert torch.equal(item["sig"], read_audio(path, 16000, None, 0))


def whole(rows, epoch):
    """One batch a window."""
    return [list(range(len(rows)))]


def test_crops_and_shards_change_with_the_epoch(corpus):
    batches = ShardBatches(write(corpus), whole, 3, 16000, 0.1, window=4)
    seen = []
    for epoch in (1, 1, 2):
        batches.set_epoch(epoch)
        items = [item for batch in batches for item in batch]
        assert sorted(item["id"] for item in items) == sorted(f"u{n}.5" for n in range(10))
        seen.append({item["id"]: item["sig"] for item in items})
    assert all(sig.shape == (1600,) for sig in seen[0].values())
    assert list(seen[0]) == list(seen[1])
    assert all(torch.equal(seen[0][i], seen[1][i]) for i in seen[0])
    assert not any(torch.equal(seen[0][i], seen[2][i]) for i in seen[0])


def test_an_epoch_has_its_number_of_batches_whatever_the_shards_hold(corpus):
    batches = ShardBatches(write(corpus), whole, 5, 16000, window=4)
    ids = [[item["id"] for item in batch] for batch in batches]
    assert len(batches) == len(ids) == 5  # 4 + 4 + 2 utterances, then again in another order
    assert sorted(sum(ids[:3], [])) == sorted(f"u{n}.5" for n in range(10))
    assert len(set(sum(ids[3:], []))) == 8


def test_workers_of_a_dataloader_share_the_shards(corpus):
    batches = ShardBatches(write(corpus), whole, 2, 16000, window=100)
    loader = DataLoader(batches, batch_size=None, num_workers=2)
    ids = [item["id"] for batch in loader for item in batch]
    assert sorted(ids) == [f"u{n}.5" for n in range(10)]


def test_more_workers_than_shards_are_an_error(corpus):
    batches = ShardBatches(write(corpus, shard_hours=1.0), whole, 2, 16000)
    with pytest.raises(ValueError, match="fewer shards than processes and workers"):
        list(DataLoader(batches, batch_size=None, num_workers=2))


def test_an_utterance_that_cannot_be_decoded_is_named(corpus):
    (corpus / "u 3---0001.5-0002.0.wav").write_bytes(b"404 not found")
    with pytest.raises(ValueError, match="utterance u3.5: .*cannot be decoded"):
        list(ShardBatches(write(corpus), by_language, 2, 16000))


def test_audio_is_read_from_memory_too(corpus):
    path = next(corpus.glob("*.wav"))
    from_memory = read_audio(io.BytesIO(path.read_bytes()), 16000, None, 0)
    assert torch.equal(from_memory, read_audio(str(path), 16000, None, 0))


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_goes_on_where_it_was_saved(corpus, num_workers):
    batches = ShardBatches(write(corpus), whole, 6, 16000, window=2)
    options = {"num_workers": num_workers, "collate_fn": lambda batch: [i["id"] for i in batch]}
    loader = ShardLoader(batches, **options)
    expected = list(loader)
    running = iter(loader)
    assert [next(running) for _ in range(4)] == expected[:4]
    loader.save(corpus / "place")
    resumed = ShardLoader(batches, **options)
    resumed.load(corpus / "place", end_of_epoch=False)
    assert list(resumed) == expected[4:]
    assert list(resumed) == expected  # the epoch after that is whole
    resumed.load(corpus / "place", end_of_epoch=True)
    assert list(resumed) == expected


def test_processes_of_a_distributed_run_read_shards_of_their_own(corpus, monkeypatch):
    folder = write(corpus)
    monkeypatch.setenv("WORLD_SIZE", "2")
    parts = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        parts.append({row["ID"] for row, _ in read_shards(folder)})
    assert parts[0] | parts[1] == {f"u{n}.5" for n in range(10)}
    assert parts[0] and parts[1] and not parts[0] & parts[1]
