"""A headless Chromium, driven through the pipe of its DevTools protocol: no further package."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Browser:
    """Opens a page and keeps what goes wrong in it.

    `problems` are errors of the console, uncaught exceptions, and dialogs that a script opened.
    """

    def __init__(self, seconds: float = 180.0):
        self.deadline = time.monotonic() + seconds
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        from_us, self.write_end = os.pipe()
        self.read_end, to_us = os.pipe()
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
        flags += ("--remote-debugging-pipe", "--no-first-run", "--mute-audio")
        flags += ("--autoplay-policy=no-user-gesture-required", "--window-size=1200,1000")
        # The protocol speaks through descriptors 3 and 4.
        script = f'exec "$@" 3<&{from_us} 4>&{to_us}'
        flags += (f"--user-data-dir={self.profile}",)
        command = ["bash", "-c", script, "bash", CHROMIUM, *flags]
        self.process = subprocess.Popen(
            command, pass_fds=(from_us, to_us), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(from_us)
        os.close(to_us)
        self.buffer, self.number, self.session, self.problems = b"", 0, None, []

    def __enter__(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.write_end)
        os.close(self.read_end)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **params):
        """Result of a method."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def run(self, expression):
        """Value of a JavaScript expression; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression):
        """Until an expression is true."""
        while not (value := self.run(expression)):
            assert time.monotonic() < self.deadline, f"never true: {expression}"
            time.sleep(0.1)
        return value

    def mouse(self, kind, x, y, **params):
        """A mouse event at a place of the page."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **params)

    def _read(self):
        while b"\0" not in self.buffer:
            left = self.deadline - time.monotonic()
            ready = select.select([self.read_end], [], [], max(0, left))[0]
            assert ready, "the browser does not answer"
            more = os.read(self.read_end, 1 << 20)
            assert more, "the browser has ended"
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"])
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(params)
