"""A headless Chromium by its DevTools protocol over a pipe: no driver, no port, nothing to install beside it."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60  # s, for an answer


def find():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Failed(Exception):
    """The browser died, or didn't answer."""


class Browser:
    """One page. What it writes to its console, and what it refuses or can't load, is collected in `complaints`."""

    def __init__(self, to, answers):
        self._to, self._from = to, answers
        self._buffer, self._last, self._session, self.complaints = b"", 0, None, []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _read(self, until):
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(0, until - time.monotonic()))[0]:
                raise Failed("no answer")
            more = os.read(self._from, 1 << 20)
            if not more:
                raise Failed("it ended")
            self._buffer += more
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.complaints.append(params)
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.complaints.append(params)

    def _call(self, method, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + TIMEOUT
        while (answer := self._read(until)).get("id") != self._last:
            self._note(answer)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path, width=1280, height=2000, **media):
        """media: prefers_color_scheme="dark" and the like; or emulated="print"; scripts=False for none."""
        self._call("Emulation.setScriptExecutionDisabled", value=not media.pop("scripts", True))
        self.resize(width, height)
        emulated = media.pop("emulated", "")
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self._call("Emulation.setEmulatedMedia", media=emulated, features=features)
        self._call("Page.navigate", url=path.resolve().as_uri())
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            time.sleep(0.02)

    def resize(self, width, height, scale=1):
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def run(self, expression):
        """The value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise Failed(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key, code=0):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def type(self, text):
        self._call("Input.insertText", text=text)

    def picture(self, path, whole=False):
        """A PNG of the window, or of the page from its top to its end."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def tree(self):
        """Role and name of all that a screen reader is told of."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]

    def pdf(self):
        return base64.b64decode(self._call("Page.printToPDF")["data"])


@contextmanager
def browser(profile):
    """A Browser with a new profile folder, closed at the end."""
    command = [find(), "--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe", "--no-proxy-server",
               "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]  # fmt: skip
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # it refuses root otherwise
    # It reads commands from descriptor 3 and answers on 4.
    script = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'
    theirs, to = os.pipe()
    answers, theirs_too = os.pipe()
    process = subprocess.Popen(["bash", "-c", script, str(theirs), str(theirs_too), *command],
                               pass_fds=(theirs, theirs_too), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    os.close(theirs)
    os.close(theirs_too)
    try:
        yield Browser(to, answers)
    finally:
        os.close(to)
        os.close(answers)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
