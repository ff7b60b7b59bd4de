"""Folders that Hugging Face's `datasets` wrote with `save_to_disk`, read with pyarrow alone."""

import json
import os
import re
from collections.abc import Iterator

import pyarrow

from data_prep.common.audio import save_audio
from data_prep.common.skips import SkipRegister
from masr_modules.data.csv_text import open_regular
from masr_modules.data.labels import trim_cell

#: Separator of the values of a cell that holds several, as `SetOverlap` reads it.
SEPARATOR = "|"


def is_saved_dataset(folder: str) -> bool:
    """Tells whether a folder holds a `Dataset` or `DatasetDict`.

    Example
    -------
    >>> is_saved_dataset("/nowhere")
    False
    """
    names = ("dataset_dict.json", "state.json")
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


class SavedDataset:
    """One split of a saved dataset.

    Arguments
    ---------
    folder : str
        Folder with `state.json`, `dataset_info.json` and `*.arrow`.

    Raises
    ------
    ValueError
        If a file is missing or broken, or no column holds audio.
    """

    def __init__(self, folder: str):
        self.folder = folder
        try:
            with open_regular(os.path.join(folder, "state.json")) as file:
                state = json.load(file)
            with open_regular(os.path.join(folder, "dataset_info.json")) as file:
                self.features = json.load(file)["features"]
            names = [os.path.basename(part["filename"]) for part in state["_data_files"]]
            self.fingerprint = str(state["_fingerprint"])
            if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", self.fingerprint):  # it names a folder
                raise ValueError(f"_fingerprint is {self.fingerprint[:80]!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: no dataset as save_to_disk writes it ({error!r})"
            ) from error
        self.files = [os.path.join(folder, name) for name in names]
        self.audio = [name for name, f in self.features.items() if f.get("_type") == "Audio"]
        if not self.audio:
            raise ValueError(f"{folder}: no column is of type Audio: {', '.join(self.features)}")
        self.columns = [name for name in self.features if name not in self.audio]

    def batches(self) -> Iterator:
        """Yields the Arrow record batches; columns that are not accessed are not read from disk."""
        for path in self.files:
            try:
                open_regular(path).close()
                with pyarrow.memory_map(path) as file, pyarrow.ipc.open_stream(file) as stream:
                    yield from stream
            except (OSError, pyarrow.ArrowInvalid) as error:
                raise ValueError(f"{path}: truncated or broken ({error})") from error

    def rows(self, wav_folder: str | None, skips: SkipRegister) -> Iterator[tuple[str, dict]]:
        """Reads the rows, and writes their audio as files.

        Arguments
        ---------
        wav_folder : str, optional
            Folder for the audio files, where existing files are kept. Without it no audio is read.
        skips : SkipRegister
            Counts audio that is missing or broken.

        Yields
        ------
        (str, dict of str to str)
            Place of the row, and column -> cell; the audio column holds the path of the
            file written, or the path that the dataset refers to.
        """
        number = -1
        for batch in self.batches():
            cells = {name: batch.column(name).to_pylist() for name in self.columns}
            for place in range(batch.num_rows):
                number += 1
                where = f"{self.folder}, row {number}"
                row = {name: self._text(name, values[place]) for name, values in cells.items()}
                if wav_folder is not None:
                    audio = batch.column(self.audio[0])[place].as_py()
                    path = os.path.join(wav_folder, f"{number:08d}.wav")
                    try:
                        row[self.audio[0]] = save_audio(audio or {}, path)
                    except ValueError as error:
                        skips.skip(f"audio: {error}", where)
                        continue
                yield where, row

    def _text(self, column: str, value: object) -> str:
        """Returns a value as the CSV has it: class names for numbers, empty where missing."""
        feature = self.features[column]
        if value is None or value != value:  # NaN, as pandas writes it
            return ""
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            known = 0 <= value < len(feature["names"])
            return feature["names"][value] if known else ""
        if isinstance(value, list):
            return SEPARATOR.join(str(item) for item in value if item is not None)
        return trim_cell(str(value))


def open_splits(folder: str) -> dict[str, SavedDataset]:
    """Opens a saved dataset.

    Arguments
    ---------
    folder : str
        The folder that was given to `save_to_disk`.

    Returns
    -------
    dict of str to SavedDataset
        Split -> its dataset; a dataset without splits has the name "".

    Raises
    ------
    ValueError
        If the dataset is broken.
    """
    path = os.path.join(folder, "dataset_dict.json")
    if not os.path.isfile(path):
        return {"": SavedDataset(folder)}
    try:
        with open(path, encoding="utf-8") as file:
            names = [os.path.basename(name) for name in json.load(file)["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: broken ({error!r})") from error
    return {name: SavedDataset(os.path.join(folder, name)) for name in names}
