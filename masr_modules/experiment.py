"""What every recipe starts with: its YAML, its folder, its corpus."""

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import run_on_main

from masr_modules.data.dataio import load_corpora
from masr_modules.data.metadata import drop_unreadable


def start_experiment(arguments: list[str]) -> tuple[dict, dict]:
    """Reads the YAML with its overrides, makes the output folder, prepares the corpus.

    Arguments
    ---------
    arguments : list[str]
        Of the command line: the YAML, then `--key value`.

    Returns
    -------
    hparams, run_opts : dict
        As `sb.Brain` takes them; the keys of the YAML's `training` block are at the top.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    sb.utils.distributed.ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    hparams |= hparams.pop("training")
    sb.create_experiment_directory(hparams["output_folder"], hparams_file, overrides)
    if "prepare" in hparams:
        run_on_main(hparams["prepare"], kwargs={"skip_prep": hparams["skip_prep"]})
    return hparams, run_opts


def load_rows(hparams: dict) -> dict[str, dict[str, dict]]:
    """Split -> ID -> row of train, valid and test, without the unreadable ones."""
    return {
        split: drop_unreadable(
            load_corpora(hparams[f"{split}_csv"], hparams["data_folder"]), hparams["max_unreadable"]
        )
        for split in ("train", "valid", "test")
    }
