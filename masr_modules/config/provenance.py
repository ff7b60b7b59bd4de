"""The settings that distinguish two runs, in a folder of results and in a record of many runs.

A folder of results belongs to one run with its seed and its inputs: the same run resumes in it and
any other is refused (`facts_of`, `check_same`, `claim`). A record of many runs finds each by a
`fingerprint` of the settings that change what is measured.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.factories import class_of, setting_of, settings_of
from masr_modules.config.files import write_atomic
from masr_modules.config.settings import dump, make_plain, merge_bases, override

#: Key of an experiment's YAML that does not change the trained encoder -> its role. `place` says
#: where results lie, `speed` how fast a run is, `run` which of several equal runs this is, `beside`
#: which other systems its table shows, `corpus` where inputs lie (`facts_of` takes digests of the
#: CSVs and of the pretrained encoder instead), and `probe` how the trained encoder is measured.
ROLES = {
    "output_folder": "place",
    "save_folder": "place",
    "cache_folder": "place",
    "skip_prep": "speed",
    "num_workers": "speed",
    "max_cache_gb": "speed",
    "audio_cache": "speed",
    "max_audio_cache_gb": "speed",
    "seed": "run",
    "__set_seed": "run",
    "system": "run",
    "baselines": "beside",
    "prepare": "corpus",
    "data_folder": "corpus",
    "csv_folder": "corpus",
    "pretrained": "corpus",
    "labelled_share": "probe",
}
#: Keys that recipes read themselves, whether or not blocks refer to them.
_READ = ("knowledge", "data_folder", "train_csv", "valid_csv", "test_csv", "labelled_csv", "ssl")
#: Key -> the value that has the same effect as leaving the key out.
_NEUTRAL = {
    "label_noise": {},
    "drop_non_candidates": {},
    "labelled_share": 1.0,
    "family_depth": 1,
    "pair_weight": 0.0,
    "probe_column": "language",
    "hard_pairs": {},
    "hard_pair_share": 0.5,
}
RECORD = "run.json"


def fingerprint(
    yaml: str | Path, overrides: Sequence[str], only: Collection[str] | None = None
) -> str:
    """Returns a hash of the settings of a run, without its seed, name and folder.

    The hash depends on what is built and not on how the YAML describes it: not on the module of a
    class, the order of keys, or the spelling of a number. A value that blocks of the YAML refer to
    does not count if overrides have replaced all of these blocks (the margin of a loss that is no
    longer used). Nor does a knowledge source that neither the loss nor the batches read, nor the
    corpus's place if the YAML leaves it to its user (`!PLACEHOLDER`).

    Arguments
    ---------
    yaml : str or Path
        The experiment.
    overrides : sequence of str
        Options as on the command line.
    only : collection of str, optional
        Keys that count, with the keys that they refer to; all by default.

    Returns
    -------
    str
        12 hexadecimal digits.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> loss = "!new:a.b.Loss {m: !ref <margin>}"
    >>> _ = path.write_text(f"seed: 1\\nmargin: 1\\nloss: {loss}\\nlr: 2\\n")
    >>> before = fingerprint(path, [])
    >>> before == fingerprint(path, ["--seed", "2", "--loss", loss.replace("a.b", "c")])
    True
    >>> before == fingerprint(path, ["--margin", "2"])
    False
    >>> fingerprint(path, [], ["loss"]) == fingerprint(path, ["--lr", "3"], ["loss"])
    True
    >>> _ = path.write_text("data_folder: !PLACEHOLDER\\n")
    >>> fingerprint(path, []) == fingerprint(path, ["--data_folder", "/corpora"])
    True
    """
    path, _, changes = parse_arguments([str(yaml), *overrides])
    tree = _relevant_tree(path, changes)
    if only is not None:
        references, kept = _references(tree), {*only} & {*tree}
        while more := set().union(*(references[key] for key in kept)) & {*tree} - kept:
            kept |= more
        tree = CommentedMap({key: tree[key] for key in kept})
    settings = {key: _canonical(value) for key, value in tree.items()}
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _relevant_tree(path: str | Path, overrides: str | Mapping | None) -> CommentedMap:
    """Returns the settings that have an effect, with references left unresolved."""
    tree = merge_bases(Path(path))
    make_plain(tree)
    before = dict(tree.items())
    references = _references(before)
    used = set().union(*references.values()) - set(_READ)
    override(tree, overrides, path)
    for key, value in before.items():  # each user has the corpus elsewhere
        if ROLES.get(key) == "corpus" and _tag(value) == "!PLACEHOLDER":
            tree[key] = value
    make_plain(tree)
    references |= _references({k: v for k, v in tree.items() if v is not before[k]})
    if isinstance(tree.get("knowledge"), list) and "head" in tree:
        acting = _acting_sources(tree, references)
        tree["knowledge"] = [tree["knowledge"][place] for place in acting]
    nothing = {key for key, value in _NEUTRAL.items() if tree.get(key, value) == value}
    beside = {key for key in tree if ROLES.get(key) in ("place", "speed", "run", "beside")}
    for key in beside | nothing:
        tree.pop(key, None)
        references.pop(key, None)
    for value in tree.values():
        _drop_references(value, nothing)
    while idle := (used & set(references)) - set().union(*references.values()):
        for key in idle:
            del tree[key], references[key]
    return tree


def _drop_references(node: object, keys: Collection[str]) -> None:
    """Removes arguments of blocks, in place, whose value is a reference to one of these keys."""
    if isinstance(node, dict):
        for name, part in [*node.items()]:
            if _tag(part) == "!ref" and str(getattr(part, "value", ""))[1:-1] in keys:
                del node[name]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for part in parts:
        _drop_references(part, keys)


def _references(tree: Mapping) -> dict[str, set[str]]:
    """Returns key -> the keys that its value refers to."""
    return {key: set(_names(value)) for key, value in tree.items()}


def _names(node: object) -> Iterator[str]:
    """Yields the names that stand between < and > in the scalars of a value."""
    if isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _names(part)
    else:
        yield from re.findall(r"<(\w+)", str(getattr(node, "value", node)))


def _acting_sources(tree: Mapping, references: Mapping[str, set[str]]) -> list[int]:
    """Returns the places of the knowledge sources that the head's loss or the batches read."""
    needed = {"head", "knowledge", "masr_weight", "batch_identity"} & {*tree}
    while more := set().union(*(references[key] for key in needed)) & {*tree} - needed:
        needed |= more
    part = CommentedMap({key: value for key, value in tree.items() if key in needed})
    built = load_hyperpyyaml(resolve_references(dump(part)))
    head, sources = built["head"], built["knowledge"]
    read = []
    if built.get("masr_weight", 1) > 0:
        read_sources = getattr(class_of(head), "read_sources", None)
        read = read_sources(**settings_of(head)) if read_sources else sources
    return [
        place
        for place, source in enumerate(sources)
        if setting_of(source, "column") == built.get("batch_identity")
        or any(source is other for other in read)
    ]


def _tag(node: object) -> str | None:
    return getattr(getattr(node, "tag", None), "value", None)


def _canonical(node: object) -> object:
    """Returns what a value of the YAML builds, for JSON; a class counts by its name alone."""
    tag = _tag(node)
    if isinstance(node, Mapping):
        parts = {str(key): _canonical(part) for key, part in node.items()}
        # The order of arguments changes nothing; that of a mapping, such as identities, may.
        value: object = parts if tag else [*parts.items()]
    elif isinstance(node, list):
        value = [_canonical(part) for part in node]
    elif isinstance(node, TaggedScalar):
        value = str(node.value or "") or {}
    elif isinstance(node, float) and node.is_integer():
        value = int(node)
    else:
        value = node
    if not tag:
        return value
    kind, _, dotted = tag.partition(":")
    return [dotted.rpartition(".")[2] or kind, value]


def same_training(changes: Mapping[str, object], others: Mapping[str, object]) -> bool:
    """Returns whether two sets of overrides train the same encoder; its probes may differ.

    Example
    -------
    >>> same_training({"lr": 1, "labelled_share": 0.1}, {"lr": 1}), same_training({"lr": 1}, {})
    (True, False)
    """
    trained = [
        {key: value for key, value in found.items() if ROLES.get(key) != "probe"}
        for found in (changes, others)
    ]
    return trained[0] == trained[1]


def facts_of(text: str) -> dict[str, dict[str, str]]:
    """Returns the settings and inputs of a run.

    Arguments
    ---------
    text : str
        Resolved YAML, from `masr_modules.config.settings.resolve_settings`.

    Returns
    -------
    dict
        `settings` maps each key to its value as YAML, and `inputs` each key of CSVs, or
        `pretrained`, to a digest of the files that it names.

    Example
    -------
    >>> facts_of("lr: 1\\noutput_folder: a\\n")
    {'settings': {'lr': '1'}, 'inputs': {}}
    """
    tree = YAML().load(text)
    folders = {key: str(tree.get(key) or "") for key in ("output_folder", "data_folder")}
    settings, inputs = {}, {}
    for key, value in tree.items():
        if key.endswith("_csv") and value is not None:
            paths = [value] if isinstance(value, str) else [part["csv"] for part in value]
            inputs[key] = _digest(*map(Path, paths))
        elif key == "pretrained":
            inputs[key] = _digest_encoder(str(value))
        elif ROLES.get(key) not in ("place", "speed", "corpus"):
            settings[key] = _text(value)
            for name, folder in folders.items():
                if folder:
                    settings[key] = settings[key].replace(folder, f"<{name}>")
    return {"settings": settings, "inputs": inputs}


def check_same(
    folder: str | Path,
    facts: Mapping[str, Mapping[str, str]],
    kinds: Sequence[str] = ("settings", "inputs"),
) -> None:
    """Refuses a folder that another run began.

    Arguments
    ---------
    folder : str or Path
        Folder of results.
    facts : mapping
        Settings and inputs of the run that would use the folder, from `facts_of`.
    kinds : sequence of str
        Which of `settings` and `inputs` must be the same.

    Raises
    ------
    ValueError
        If they differ. The message names the folder and up to three differences.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "run.json").write_text('{"settings": {"lr": "1"}, "inputs": {}}')
    >>> check_same(folder, facts_of("lr: 2"))
    Traceback (most recent call last):
    ...
    ValueError: ...was begun with lr: 1, this run has lr: 2; give another --output_folder...
    """
    path = Path(folder, RECORD)
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    differs = []
    for kind in kinds:
        for key in sorted({*before[kind], *facts[kind]}):
            old, new = (there[kind].get(key, "nothing") for there in (before, facts))
            if old != new and kind == "settings":
                differs.append(f"was begun with {key}: {old}, this run has {key}: {new}")
            elif old != new:
                differs.append(f"was begun with other contents of {key}")
    if differs:
        differs.sort(key=len)  # the key that was changed, before the blocks that refer to it
        raise ValueError(
            f"{folder} {'; '.join(differs[:3])}; give another --output_folder, remove this one, "
            "or give what it was begun with"
        )


def claim(folder: str | Path, text: str, begun: bool) -> None:
    """Records in a folder which run it belongs to.

    Arguments
    ---------
    folder : str or Path
        Folder of results.
    text : str
        Resolved YAML of the run.
    begun : bool
        Whether the folder holds results that the run would reuse; then it must be the run's own.

    Raises
    ------
    ValueError
        If `begun`, and another run began the folder; see `check_same`.
    """
    facts = facts_of(text)
    if begun:
        check_same(folder, facts)
    write_atomic(Path(folder, RECORD), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def _text(value: object) -> str:
    text = StringIO()
    YAML().dump(value, text)
    return text.getvalue().removesuffix("...\n").strip()


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            return "no such file"
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _digest_encoder(source: str) -> str:
    """Returns a digest of the weights and settings in a folder, or a hub's name as it is."""
    folder = Path(source)
    folder = folder / "encoder" if (folder / "encoder").is_dir() else folder
    if not folder.is_dir():
        return source
    kinds = (".ckpt", ".safetensors", ".bin", ".yaml", ".json")
    return _digest(*sorted(path for path in folder.iterdir() if path.suffix in kinds))
