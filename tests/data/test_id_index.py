"""IDs found by their hashes."""

import pickle
import subprocess
import sys

import pyarrow as pa
import pytest

from masr_modules.data import id_index as module
from masr_modules.data.id_index import IdIndex

IDS = [f"u{n} é" for n in range(1000)]


@pytest.fixture(params=[list, pa.array, lambda ids: pa.chunked_array([ids[:3], ids[3:]])])
def places(request):
    return IdIndex(request.param(IDS))


def test_every_id_is_found_where_it_stands(places):
    assert places.find(IDS[::-1]).tolist() == list(range(999, -1, -1))
    assert list(places) == IDS and len(places) == 1000


def test_what_is_not_there_is_named(places):
    assert "u1000 é" not in places and None not in places
    with pytest.raises(KeyError, match="u1000 é"):
        places.find(["u3 é", "u1000 é"])


def test_of_a_repeated_id_the_first_place_counts():
    assert IdIndex(["a", "b", "a"]).find(["a"]).tolist() == [0]


def test_ids_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(module, "hash", lambda key: 7, raising=False)
    places = IdIndex(["a", "b", "c"])
    assert places.find(["c", "a", "b"]).tolist() == [2, 0, 1]
    assert "d" not in places


def test_none_is_no_id_at_all():
    assert list(IdIndex([])) == [] and "a" not in IdIndex([])


def test_another_process_hashes_anew(places, tmp_path):
    (tmp_path / "p").write_bytes(pickle.dumps(places))
    code = f"import pickle; p = pickle.load(open({str(tmp_path / 'p')!r}, 'rb'))"
    code += "; print(p.find(['u41 é'])[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "41"
