"""`masr embed`: writes the embeddings of audio files by a pretrained encoder."""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masr_modules.config.files import atomic_file

if TYPE_CHECKING:
    import numpy as np

#: Extensions that the output file may have.
ENDINGS = (".npz", ".csv")


def main(arguments: list[str], prog: str | None = None) -> int:
    """Embeds files; names and leaves out those that cannot be read.

    Arguments
    ---------
    arguments : list[str]
        See `--help`.
    prog : str, optional
        The command's name in `--help`; by default the name of the script.

    Returns
    -------
    int
        0, or 1 if files could not be read.

    Raises
    ------
    FileNotFoundError
        If there is no encoder; the message says what was expected.
    ValueError
        If no file can be read, the encoder does not have the layer, or torch cannot use the device.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes an embedding of each audio file: the mean over its frames of one layer "
        "of an encoder, or with --space the utterance embedding that pretraining made for a "
        "label. A file may have any format that soundfile reads, any sample rate and any "
        "length.",
        epilog="The .npz holds `files` (N,) and `embeddings` (N, D), float32. The .csv has a "
        "column `file` and one for each dimension. A file that cannot be read is named and left "
        "out, and the exit status is then 1.",
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", metavar="FILES", help="audio files")
    parser.add_argument(
        "--encoder",
        required=True,
        help="a folder that pretraining wrote, such as results/pretrain/masr/1234/encoder, or a "
        "speech model of transformers (folder or hub name)",
    )
    parser.add_argument(
        "--output",
        default="embeddings.npz",
        help="the file to write, .npz or .csv (default: %(default)s)",
    )
    parser.add_argument(
        "--layer",
        type=int,
        default=-1,
        help="the layer: 0 is the front end, -1 the last (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="cpu", help="torch device, such as cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--space",
        help="a label that the pretraining discriminated, such as speaker: takes the embedding of "
        "its space, and no layer",
    )
    own = parser.parse_args(arguments)
    if Path(own.output).suffix not in ENDINGS:
        parser.error(f"--output {own.output}: its name must end with {' or '.join(ENDINGS)}")
    # These are imported here so that --help does not wait for them.
    import numpy as np
    import torch
    from tqdm import tqdm

    from masr_modules.inference import MASREncoder

    try:
        torch.zeros(1, device=own.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"--device {own.device}: {reason}") from error
    encoder = MASREncoder.from_hparams(own.encoder, own.device)
    if own.space is not None:
        encoder.check_space(own.space)
    found: dict[str, np.ndarray] = {}
    broken = []
    for file in tqdm(own.files, desc="files", disable=None):
        try:
            found[file] = encoder.embed_file(file, own.layer, own.space).float().cpu().numpy()
        except ValueError as error:
            broken.append(str(error))
        except IndexError:
            if own.space is not None:
                reason = "its spaces.ckpt reads a layer that the encoder lacks: export it again"
                raise ValueError(f"--space {own.space}: {own.encoder}: {reason}") from None
            raise ValueError(
                f"--layer {own.layer}: {own.encoder} has fewer layers; 0 is the front end, "
                "-1 the last layer"
            ) from None
    for reason in broken:
        print(reason, file=sys.stderr)
    if not found:
        raise ValueError("no file could be read: nothing is written")
    embeddings = np.stack(list(found.values()))
    save_embeddings(own.output, list(found), embeddings)
    left_out = f"; {len(broken)} could not be read" if broken else ""
    print(f"{own.output}: {len(found)} embeddings of {embeddings.shape[1]} numbers{left_out}")
    return int(bool(broken))


def save_embeddings(path: str | Path, files: Sequence[str], embeddings: "np.ndarray") -> None:
    """Writes embeddings to a file, which is there complete or not at all.

    Arguments
    ---------
    path : str or Path
        The file to write: a CSV if it ends with .csv, else an .npz.
    files : sequence of str
        N names.
    embeddings : np.ndarray
        (N, D) embeddings.

    Example
    -------
    >>> import numpy as np
    >>> path = getfixture("tmp_path") / "e.csv"
    >>> save_embeddings(path, ["a.wav"], np.array([[0.5, -1.0]], dtype=np.float32))
    >>> print(path.read_text(), end="")
    file,0,1
    a.wav,0.5,-1.0
    """
    with atomic_file(path) as temporary:
        if Path(path).suffix == ".csv":
            with open(temporary, "w", encoding="utf-8", newline="") as text:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(["file", *range(embeddings.shape[1])])
                writer.writerows([f, *row] for f, row in zip(files, embeddings, strict=True))
        else:
            import numpy as np

            with open(temporary, "wb") as content:
                np.savez(content, files=np.array(files), embeddings=embeddings)
