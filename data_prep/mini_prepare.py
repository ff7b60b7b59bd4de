"""The synthetic corpus: some hours of synthetic speech in many languages, made locally.

Nothing is downloaded: eSpeak NG speaks dates, quantities, names and numbers in
words (``mini/text.py``), and its voice variants are the speakers (``mini/voices.py``).
The corpus serves to try and to test recipes. It is no substitute for recordings:
the languages share one engine, and ``emotion`` is *simulated* by rate, pitch, pitch range
and volume (``mini/plan.py`` assigns it).

Training, validation and test differ in speakers and in sentences. Downstream tasks learn from
``labelled.csv``, which has the speakers of the training set and sentences of its own. The same
seed gives the same bytes with any number of workers; more hours only add utterances to those of a
smaller corpus, and other languages do not change a language's utterances.

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
    """Make the synthetic corpus and its CSVs.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus; the speech goes to its folder ``wav``.
    save_folder : str
        Folder of ``train.csv``, ``labelled.csv``, ``valid.csv`` and ``test.csv``.
    languages : list of str, optional
        Codes of the languages, such as fr, or of ISO 639-3 (default: 24 languages of Europe and
        South Asia).
    hours : float
        Hours over all languages and splits.
    seed : int
        Seed of everything that is drawn.
    num_workers : int
        Number of processes that speak at once; the result does not depend on it.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    ValueError
        If a language is unknown, a code stands for several languages, or the hours or the workers
        are not positive.
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
    with extra("mini"):  # imported here, because `skip_prep` needs no engine
        from data_prep.mini.corpus import make_corpus
    make_corpus(data_folder, save_folder, languages, hours, seed, num_workers)


if __name__ == "__main__":
    run(prepare_mini)
