"""Recordings of people that anyone may download: many languages, speakers and acted emotions.

The folder holds the corpora as they were unpacked, each in its own layout:

- `cv-corpus-6.1-sample`: Common Voice, a folder per locale, without official splits
  (`commonvoice_prepare`);
- `speechocean762`: read English of 250 speakers, a Kaldi directory (`kaldi_prepare`);
- `nemo`, `ravdess`, `emotts`: Polish, English and Korean actors (`acted_emotion_prepare`).

Each corpus gets CSVs of its own under `save_folder`. No speaker is in two splits.

Example
-------
``python -m data_prep.people_prepare --data_folder people --save_folder people-csv``
"""

import os

from data_prep.acted_emotion_prepare import prepare_acted_emotion
from data_prep.common.command_line import run
from data_prep.commonvoice_prepare import prepare_commonvoice
from data_prep.kaldi_prepare import prepare_kaldi

ACTED = ("nemo", "ravdess", "emotts")


def prepare_people(
    data_folder: str,
    save_folder: str,
    commonvoice_folder: str = "cv-corpus-6.1-sample",
    seed: int = 1234,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Writes the CSVs of each corpus to a folder with the corpus's name.

    Arguments
    ---------
    data_folder : str
        Folder of the corpora.
    save_folder : str
        Folder of the folders `commonvoice`, `speechocean762`, `nemo`, `ravdess` and `emotts`, each
        with `train.csv`, `valid.csv` and `test.csv`.
    commonvoice_folder : str
        Folder of Common Voice in `data_folder`.
    seed : int
        Seed of the draws of speakers.
    num_workers : int
        Processes that read audio headers.
    skip_limit : float
        Largest fraction of a corpus's utterances that may be broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If a corpus is missing, or not laid out as it was published.

    Example
    -------
    >>> prepare_people("people", "people-csv", skip_prep=True)
    """
    if skip_prep:
        return
    options = {"num_workers": num_workers, "skip_limit": skip_limit}

    def folders(source: str, name: str) -> dict[str, str]:
        return {
            "data_folder": os.path.join(data_folder, source),
            "save_folder": os.path.join(save_folder, name),
        }

    prepare_commonvoice(**folders(commonvoice_folder, "commonvoice"), split_seed=seed, **options)
    prepare_kaldi(
        **folders("speechocean762", "speechocean762"),
        constants={"language": "en"},
        seed=seed,
        **options,
    )
    for name in ACTED:
        prepare_acted_emotion(**folders(name, name), corpus=name, seed=seed, **options)


if __name__ == "__main__":
    run(prepare_people)
