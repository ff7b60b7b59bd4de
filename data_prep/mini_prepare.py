"""The synthetic corpus: some hours of synthetic speech in many languages, made on the spot.

Nothing is downloaded: eSpeak NG speaks dates, quantities, names and numbers in
words (``mini/text.py``) with its voice variants as speakers (``mini/voices.py``).
It serves to try recipes and to test them. It is no substitute for recordings:
the languages share one engine, and ``emotion`` is *simulated*,
made of rate, pitch, pitch range and volume (``mini/plan.py`` deals them out).

Training, validation and test differ in speakers and in sentences. ``labelled.csv`` is what
downstream tasks learn from: speakers of the training set, sentences of its own. The same seed
gives the same bytes in any order, with any number of workers; more hours or
more languages only add utterances to those of a smaller corpus.

eSpeak NG is licensed under the GPL-3. It comes with the package
``espeakng-loader`` and runs as a separate process (``mini/espeak_worker.py``).

Example
-------
``python -m data_prep.mini_prepare --data_folder data/mini --save_folder data/mini/csv``
"""

from data_prep.common.command_line import run
from masr_modules.config.extras import extra


def prepare_mini(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    hours: float = 9.6,
    seed: int = 1234,
    num_workers: int = 2,
    skip_prep: bool = False,
) -> None:
    """Make the mini corpus and its CSVs.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus; the speech goes to its folder ``wav``.
    save_folder : str
        Folder of ``train.csv``, ``labelled.csv``, ``valid.csv`` and ``test.csv``.
    languages : list of str, optional
        Codes of the languages, also of ISO 639-3 (default: 24 of Europe and South Asia).
    hours : float
        Hours over all languages and splits.
    seed : int
        Seed of everything that is drawn.
    num_workers : int
        How many processes speak at once; the result does not depend on it.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    ValueError
        If a language is unknown or a code stands for several, or the hours or the workers are
        not positive.
    RuntimeError
        If the engine fails.
    MissingExtraError
        If the extra `mini` is not installed.

    Example
    -------
    >>> prepare_mini("data/mini", "data/mini/csv", ["fr", "de"], skip_prep=True)
    """
    if skip_prep:
        return
    if hours <= 0 or num_workers < 1:
        raise ValueError(f"hours ({hours}) and num_workers ({num_workers}) have to be positive")
    with extra("mini"):  # here, for a corpus that is there is used without it
        from data_prep.mini.corpus import make_corpus
    make_corpus(data_folder, save_folder, languages, hours, seed, num_workers)


if __name__ == "__main__":
    run(prepare_mini)
