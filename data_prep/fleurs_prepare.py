"""FLEURS: read speech in 102 languages, the same sentences in all of them.

The folder has the layout of the Hugging Face repository `google/fleurs`, or another one in which
FLEURS is distributed (`data_prep/fleurs/layouts.py`). Archives are unpacked where they lie, or
under the save folder where the data folder is read-only. The tables have seven tab-separated
columns, no header and no quoting.

FLEURS names no speakers: the column stays empty, and it cannot be checked whether the official
splits share any. This preparation keeps the sentences of the splits disjoint.

Conneau et al., "FLEURS: Few-shot Learning Evaluation of Universal
Representations of Speech", SLT 2022, arXiv 2205.12446.

Example
-------
``python -m data_prep.fleurs_prepare --data_folder fleurs --save_folder fleurs/csv``
"""

import os
from collections.abc import Iterator

from data_prep.common.audio import add_durations
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.fleurs.layouts import Split, find_names, find_split, inputs_of, read_split

#: The regional groups of the paper, and the configurations in each.
GROUPS = {
    "Western Europe": (
        "ast_es bs_ba ca_es hr_hr da_dk nl_nl en_us fi_fi fr_fr gl_es de_de el_gr hu_hu is_is "
        "ga_ie it_it kea_cv lb_lu mt_mt nb_no oc_fr pt_br es_419 sv_se cy_gb"
    ),
    "Eastern Europe": (
        "hy_am be_by bg_bg cs_cz et_ee ka_ge lv_lv lt_lt mk_mk pl_pl ro_ro ru_ru sr_rs sk_sk "
        "sl_si uk_ua"
    ),
    "Central Asia, Middle East, North Africa": (
        "ar_eg az_az he_il kk_kz ky_kg mn_mn ps_af fa_ir ckb_iq tg_tj tr_tr uz_uz"
    ),
    "Sub-Saharan Africa": (
        "af_za am_et ff_sn lg_ug ha_ng ig_ng kam_ke ln_cd luo_ke nso_za ny_mw om_et sn_zw so_so "
        "sw_ke umb_ao wo_sn xh_za yo_ng zu_za"
    ),
    "South Asia": (
        "as_in bn_in gu_in hi_in kn_in ml_in mr_in ne_np or_in pa_in sd_in ta_in te_in ur_pk"
    ),
    "South-East Asia": "my_mm ceb_ph fil_ph id_id jv_id km_kh lo_la ms_my mi_nz th_th vi_vn",
    "CJK": "cmn_hans_cn yue_hant_hk ja_jp ko_kr",
}

#: Configuration -> group.
GROUP_OF = {config: group for group, configs in GROUPS.items() for config in configs.split()}

EXTRA_COLUMNS = ("fleurs_group", "sentence_id", "raw_text")

#: Split -> FLEURS's name of it. The training set comes last, and leaves out what the others hold.
SPLITS = {"test": "test", "valid": "dev", "train": "train"}

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 2


def prepare_fleurs(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    skip_limit: float = 0.01,
    num_workers: int = 8,
    skip_prep: bool = False,
) -> None:
    """Writes the CSVs of FLEURS, with the official splits.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    languages : list of str, optional
        Configurations such as fr_fr (default: all whose folder is there).
    skip_limit : float
        Largest fraction of utterances that may be broken.
    num_workers : int
        Processes that read audio headers.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the folder is not laid out like FLEURS.
    ValueError
        If a configuration is unknown, an archive is broken or unsafe, or too many
        utterances are broken.

    Example
    -------
    >>> prepare_fleurs("fleurs", "fleurs/csv", skip_prep=True)
    """
    if skip_prep:
        return
    configs = find_configs(data_folder, languages)
    found = {
        (config, split): find_split(data_folder, save_folder, config, name)
        for config in configs
        for split, name in SPLITS.items()
    }
    inputs = [path for split in found.values() for path in inputs_of(split, data_folder)]
    settings = {
        "corpus": "fleurs",
        "version": VERSION,
        "inputs": fingerprint_inputs(data_folder, inputs),
        "data_folder": os.path.abspath(data_folder),
        "configs": configs,
        "skip_limit": skip_limit,
    }
    if is_prepared(save_folder, settings):
        return
    skips = SkipRegister(skip_limit)
    rows = (
        row
        for config in configs
        for row in read_config(
            config, {split: found[config, split] for split in SPLITS}, save_folder, skips
        )
    )
    rows = add_durations(rows, data_folder, skips, num_workers=num_workers)
    disjoint = [("language_label", "sentence_id")]
    write_corpus(save_folder, rows, settings, skips, EXTRA_COLUMNS, disjoint)


def find_configs(data_folder: str, languages: list[str] | None) -> list[str]:
    """Finds the configurations to read, in alphabetical order.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    languages : list of str, optional
        Configurations asked for; by default, all whose folder is there.

    Raises
    ------
    ValueError
        If one of them is no configuration of FLEURS.
    FileNotFoundError
        If there is none.
    """
    unknown = sorted(set(languages or ()) - GROUP_OF.keys())
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is no configuration of FLEURS; there are {', '.join(sorted(GROUP_OF))}"
        )
    if languages is None:
        languages = find_names(data_folder) & GROUP_OF.keys()
    if not languages:
        layout = {
            "data/*_*/train.tsv": "tables of a configuration, such as data/fr_fr/train.tsv",
            "*_*/train.tsv": "or without data/",
            "*_*.tar.gz": "or a configuration's tarball",
            "metadata/*_*/train.tsv": "or as lhotse downloads it",
            "*_*/train*.parquet": "or parquet",
        }
        expect_layout(data_folder, "FLEURS", layout, any_of=True)
    return sorted(set(languages))


def read_config(
    config: str, found: dict[str, Split], save_folder: str, skips: SkipRegister
) -> Iterator[tuple[str, dict[str, object]]]:
    """Reads the tables of one configuration, without durations.

    Arguments
    ---------
    config : str
        Name of the configuration, such as ``fr_fr``.
    found : dict of str to Split
        Split -> its tables and audio.
    save_folder : str
        Folder of the CSVs.
    skips : SkipRegister
        Counts rows that are left out.

    Yields
    ------
    (str, dict)
        Split and row.
    """
    language = {**language_cells(config), "fleurs_group": GROUP_OF[config]}
    held_out: set[str] = set()  # sentences of test, then of valid too
    stems: set[str] = set()
    for split, name in SPLITS.items():
        earlier = frozenset(held_out)
        for where, cells in read_split(found[split], save_folder, config, name, skips):
            stem = os.path.splitext(cells["file"])[0]
            if stem in stems:
                skips.skip("file comes twice in the tables", f"{where}: {cells['file']}")
                continue
            stems.add(stem)
            if cells["sentence_id"] in earlier:
                skips.exclude("sentence is also in dev or test", f"{where}: {cells['sentence_id']}")
                continue
            held_out.add(cells["sentence_id"])
            yield (
                split,
                {
                    "ID": f"fleurs_{config}_{stem}",
                    "wav": cells["wav"],
                    **language,
                    "gender": _gender(cells["gender"], where, skips),
                    **{column: cells[column] for column in ("sentence_id", "text", "raw_text")},
                },
            )


def _gender(cell: str, where: str, skips: SkipRegister) -> str:
    gender = cell.lower()
    if gender in ("male", "female", "other"):
        return gender
    if gender:
        skips.note("gender is not known", f"{where}: {cell!r}")
    return ""


if __name__ == "__main__":
    run(prepare_fleurs)
