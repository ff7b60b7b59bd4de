"""One process for a folder; children that end with the process that started them."""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

#: Files of a folder that say who works in it: of a run, and of what starts runs.
RUN_LOCK, STARTER_LOCK = "run.lock", "starter.lock"
#: Variable of the environment: the process that a child is to end with.
STARTER = "MASR_STARTER"

_held: dict[Path, TextIO] = {}


def hold(path: str | Path) -> None:
    """Makes sure that no other process works here, until this one ends, however it ends.

    Arguments
    ---------
    path : str or Path
        The lock, a file; its folder is made where it is missing.

    Raises
    ------
    RuntimeError
        If another process holds it: says which, where and since when.

    Example
    -------
    >>> path = getfixture("tmp_path") / "run.lock"
    >>> hold(path)
    >>> hold(path)  # it is ours already
    >>> release(path)
    """
    path = Path(path).resolve()
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another process"
        file.close()
        raise RuntimeError(
            f"{path.parent} is in use by {who}: wait for it, end it, or give another "
            "--output_folder"
        ) from None
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n")
    file.flush()
    _held[path] = file  # closed, and so released, with the process


def _let_go() -> None:
    """Of a worker that is forked: else it would hold its parent's locks after the parent's end."""
    for file in _held.values():
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def release(path: str | Path) -> None:
    """Lets others work here; does nothing where `hold` does not hold it."""
    file = _held.pop(Path(path).resolve(), None)
    if file is not None:
        file.truncate(0)
        file.close()


def run_child(command: Sequence[str], **options) -> subprocess.CompletedProcess:
    """subprocess.run, for a recipe that ends where this process does, killed or not.

    Arguments
    ---------
    command : sequence of str
        Of a recipe that calls `end_with_starter`.
    **options
        Of subprocess.run.

    Example
    -------
    >>> import sys
    >>> run_child([sys.executable, "-c", "pass"]).returncode
    0
    """
    env = {**(options.pop("env", None) or os.environ), STARTER: str(os.getpid())}
    return subprocess.run(command, env=env, **options)


def end_with_starter(every: float = 1.0) -> None:
    """In a child of `run_child`: asks itself to leave (SIGTERM) where its starter is gone.

    Training then saves a checkpoint and ends, as if it had been asked from outside.

    Arguments
    ---------
    every : float
        Seconds between two looks.
    """
    starter = os.environ.pop(STARTER, None)  # its own children are not the starter's
    if starter is None:
        return

    def watch() -> None:
        while os.getppid() == int(starter):
            time.sleep(every)
        logger.warning("the process that started this one, %s, is gone: leaving", starter)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="starter", daemon=True).start()
