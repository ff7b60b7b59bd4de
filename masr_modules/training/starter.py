"""Locks that let only one process work in a folder, and children that end with their starter."""

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

#: Files of a folder that say which process works in it: the lock of a run, and that of a command
#: that starts runs.
RUN_LOCK, STARTER_LOCK = "run.lock", "starter.lock"
#: Environment variable that holds the ID of the process whose end also ends the child.
STARTER = "MASR_STARTER"

_held: dict[Path, TextIO] = {}


def hold(path: str | Path) -> None:
    """Takes a folder's lock for this process, until it releases it or ends, however it ends.

    Arguments
    ---------
    path : str or Path
        The lock's file; its folder is made if it is missing.

    Raises
    ------
    RuntimeError
        If another process holds the lock; the message says which, on which host and since when.

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
    _held[path] = file  # the end of the process closes it, and so releases the lock


def _let_go() -> None:
    """Closes the locks in a forked worker, which would else hold them after its parent's end."""
    for file in _held.values():
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def release(path: str | Path) -> None:
    """Releases a lock, so that others may work in its folder; does nothing if it is not held."""
    file = _held.pop(Path(path).resolve(), None)
    if file is not None:
        file.truncate(0)
        file.close()


def run_child(command: Sequence[str], **options) -> subprocess.CompletedProcess:
    """Runs a recipe as subprocess.run does; the recipe ends if this process ends or is killed.

    Arguments
    ---------
    command : sequence of str
        The command of a recipe that calls `end_with_starter`.
    **options
        Options of subprocess.run.

    Example
    -------
    >>> import sys
    >>> run_child([sys.executable, "-c", "pass"]).returncode
    0
    """
    env = {**(options.pop("env", None) or os.environ), STARTER: str(os.getpid())}
    return subprocess.run(command, env=env, **options)


def end_with_starter(every: float = 1.0) -> None:
    """Lets a child of `run_child` watch its starter and send itself SIGTERM when that is gone.

    Training then saves a checkpoint and ends, as it does after any SIGTERM.

    Arguments
    ---------
    every : float
        Seconds between two checks.
    """
    starter = os.environ.pop(STARTER, None)  # children of this process do not inherit it
    if starter is None:
        return

    def watch() -> None:
        while os.getppid() == int(starter):
            time.sleep(every)
        logger.warning("the process that started this one, %s, is gone: leaving", starter)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="starter", daemon=True).start()
