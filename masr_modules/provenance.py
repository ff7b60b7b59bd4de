"""What a folder of results was made from: the same run resumes in it, another is refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from masr_modules.files import write_atomic

#: Keys that do not change results, or whose files `inputs` tells apart.
BESIDE = (
    *("output_folder", "save_folder", "data_folder", "csv_folder", "cache_folder", "prepare"),
    *("skip_prep", "num_workers", "max_cache_gb", "pretrained"),
)
RECORD = "run.json"


def facts_of(text: str) -> dict[str, dict[str, str]]:
    """Settings and inputs of a run.

    Arguments
    ---------
    text : str
        Resolved YAML, from `masr_modules.settings.resolve_settings`.

    Returns
    -------
    dict
        `settings`: key -> its value as YAML; `inputs`: key -> digest of the files it names.

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
        elif key not in BESIDE:
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
        Of results.
    facts : mapping
        From `facts_of`, of the run that wants it.
    kinds : sequence of str
        What must be the same.

    Raises
    ------
    ValueError
        Names the folder, and what differs of each key.

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
        differs.sort(key=len)  # what was changed, before the blocks that take its value
        raise ValueError(
            f"{folder} {'; '.join(differs[:3])}; give another --output_folder, remove this one, "
            "or give what it was begun with"
        )


def claim(folder: str | Path, text: str, begun: bool) -> None:
    """Makes a folder that of a run, or makes sure that it is.

    Arguments
    ---------
    folder : str or Path
        Of results.
    text : str
        Resolved YAML.
    begun : bool
        Whether there is something in it that would be reused.

    Raises
    ------
    ValueError
        See `check_same`.
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
    """Of weights and settings in a folder; a name on a hub stands for itself."""
    folder = Path(source)
    folder = folder / "encoder" if (folder / "encoder").is_dir() else folder
    if not folder.is_dir():
        return source
    kinds = (".ckpt", ".safetensors", ".bin", ".yaml", ".json")
    return _digest(*sorted(path for path in folder.iterdir() if path.suffix in kinds))
