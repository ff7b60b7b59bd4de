"""One process for a folder, and children that end with what started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from masr_modules.training.starter import RUN_LOCK, hold, release

HOLD = """
import sys, time
from masr_modules.training.starter import hold
hold(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""
STARTER = """
import sys
from masr_modules.training.starter import run_child
run_child([sys.executable, "-c", sys.argv[1]])
"""
CHILD = """
import os, time
from masr_modules.training.starter import end_with_starter
end_with_starter(every=0.05)
print(os.getpid(), flush=True)
time.sleep(60)
"""


HOLD_AND_FORK = """
import os, sys, time
from masr_modules.training.starter import hold
hold(sys.argv[1])
if not os.fork():  # so that the fork has let go
    print("held", flush=True)
time.sleep(60)
"""


def python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_a_second_process_is_refused_and_told_who_is_there(tmp_path):
    path = tmp_path / "run" / RUN_LOCK
    first = python(HOLD, path)
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=rf"run is in use by process {first.pid} on .*since"):
            hold(path)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    hold(path)  # what a killed process held is free
    hold(path)
    release(path)
    with python(HOLD, path) as second:
        assert second.stdout.readline() == "held\n"
        second.kill()


def test_workers_that_were_forked_do_not_hold_what_a_killed_process_held(tmp_path):
    path = tmp_path / RUN_LOCK
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_FORK, path],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert first.stdout.readline() == "held\n"
    try:
        with pytest.raises(RuntimeError, match="is in use by process"):
            hold(path)  # the fork has not let go of its parent's
        first.kill()
        first.wait()
        hold(path)
        release(path)
    finally:
        os.killpg(first.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_its_starter(number):
    starter = python(STARTER, CHILD)
    child = int(starter.stdout.readline())
    starter.send_signal(number)
    starter.wait()
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child lives on")
