"""What `Dataset.save_to_disk` and `DatasetDict.save_to_disk` write (datasets 5.2)."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import soundfile
from trees import write_lines

AUDIO = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def audio_bytes(seconds=0.2, form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, np.full(int(16000 * seconds), 0.1), 16000, format=form)
    return file.getvalue()


def rows_of(speakers, form="FLAC"):
    """Column -> values, one row a speaker."""
    count = len(speakers)
    return {
        "audio": [{"bytes": audio_bytes(form=form), "path": None}] * count,
        "speaker_id": list(speakers),
        "lang": [number % 2 for number in range(count)],
        "age": [None] + [30] * (count - 1),
        "tags": [["read", "quiet"]] * count,
    }


def saved_dataset(folder, columns, shards=1):
    """One split; `lang` is a ClassLabel."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    types = {"audio": AUDIO, "lang": pyarrow.int64()}
    table = pyarrow.table({n: pyarrow.array(v, types.get(n)) for n, v in columns.items()})
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    features["audio"] = {"sampling_rate": 16000, "_type": "Audio"}
    features["lang"] = {"names": ["fr", "de"], "_type": "ClassLabel"}
    features["tags"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    files, size = [], -(-len(table) // shards)
    for shard in range(shards):
        name = f"data-{shard:05d}-of-{shards:05d}.arrow"
        files.append({"filename": name})
        with pyarrow.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table.slice(shard * size, size))
    state = {"_data_files": files, "_fingerprint": "b2fe78cbc674e8e6", "_split": None}
    write_lines(folder / "state.json", [json.dumps(state)])
    write_lines(folder / "dataset_info.json", [json.dumps({"features": features})])
    return folder


def saved_dataset_dict(folder, splits):
    """Split -> columns."""
    for name, columns in splits.items():
        saved_dataset(Path(folder) / name, columns)
    write_lines(Path(folder) / "dataset_dict.json", [json.dumps({"splits": list(splits)})])
    return Path(folder)
