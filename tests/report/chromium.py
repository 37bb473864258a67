"""A headless Chromium, driven over a pipe with nothing but the standard library."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = (
    "chrome-headless-shell", "chromium-headless-shell", "headless_shell", "chromium",
    "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome",
)  # fmt: skip
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0
"""Seconds that an answer may take on a busy machine."""


def find() -> str | None:
    """The program: $SCOREFIELD_BROWSER, one on the path, or one that Playwright has installed."""
    if told := os.environ.get("SCOREFIELD_BROWSER"):
        return told
    for name in NAMES:
        if found := shutil.which(name):
            return found
    kept = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright"
    for name in ("chrome-headless-shell", "headless_shell", "chrome"):
        for path in sorted(Path(kept).glob(f"chromium*/*/{name}")):
            return str(path)
    return None


class Tab:
    """One page. `events` holds what the browser told unasked."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self.browser, self.session = browser, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [e for e in self.browser.events if e.get("sessionId") == self.session]

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Load a page in a window of that size; an error of the page's is an event."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call("Page.navigate", url=url)
        until = time.monotonic() + PATIENCE
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            if time.monotonic() > until:
                raise TimeoutError(f"{url} did not load")
            self.browser.listen(0.1)

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        told = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise RuntimeError(told["exceptionDetails"])
        return told["result"].get("value")

    def screenshot(self, path: Path) -> bytes:
        """The whole page as a PNG."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(content := base64.b64decode(told["data"]))
        return content


class Browser:
    """Requests and answers are JSON, each ended by a zero byte, on descriptors 3 and 4."""

    def __init__(self, program: str, home: Path) -> None:
        theirs_in, self.writes = os.pipe()
        self.reads, theirs_out = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)

        def place() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={home}"],
            preexec_fn=place, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in high:
            os.close(fd)
        self.rest, self.count = b"", 0
        self.events: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self.count += 1
        asked: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if session:
            asked["sessionId"] = session
        os.write(self.writes, json.dumps(asked).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while self.count not in self.answers:
            if time.monotonic() > until or self.process.poll() is not None:
                raise TimeoutError(f"{method} was not answered")
            self.listen(0.1)
        answer = self.answers.pop(self.count)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def listen(self, seconds: float) -> None:
        """Take in what has come, waiting at most so long for the first of it."""
        while select.select([self.reads], [], [], seconds)[0]:
            content = os.read(self.reads, 1 << 20)
            if not content:
                return
            *whole, self.rest = (self.rest + content).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self.answers[message["id"]] = message
                else:
                    self.events.append(message)
            seconds = 0

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        told = self.call("Target.attachToTarget", targetId=target, flatten=True)
        return Tab(self, told["sessionId"])

    def close(self) -> None:
        with contextlib.suppress(TimeoutError, OSError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reads)
        os.close(self.writes)


@contextlib.contextmanager
def started(program: str, home: Path) -> Iterator[Browser]:
    """A browser with an empty profile in `home`."""
    browser = Browser(program, home)
    try:
        yield browser
    finally:
        browser.close()


INSPECT = """
Promise.all([...document.images].map(i => i.decode().then(() => true, () => false)))
.then(decoded => ({
  decoded,
  widths: [...document.images].map(i => i.naturalWidth),
  charts: [...document.querySelectorAll('.chart > svg, svg.bar, svg.ladder')]
    .map(s => s.getBoundingClientRect()).map(r => [r.width, r.height]),
  paths: [...document.querySelectorAll('.chart path')].map(p => p.getBoundingClientRect().width),
  cut: [...document.querySelectorAll('.chart text, .bar text')]
    .filter(t => t.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(t => t.textContent),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
}))
"""


def complaints(tab: Tab) -> list[str]:
    """What is wrong with the page that a tab shows."""
    seen = tab.run(INSPECT)
    found = [f"image {i} is not decoded" for i, ok in enumerate(seen["decoded"]) if not ok]
    found += [f"image {i} is empty" for i, width in enumerate(seen["widths"]) if not width]
    found += ["a chart has no size"] * any(min(size) < 10 for size in seen["charts"])
    found += ["a curve has no width"] * any(width < 10 for width in seen["paths"])
    found += [f"{seen['overflow']} px too wide"] * (seen["overflow"] > 0)
    found += [f"cut off: {text}" for text in seen["cut"]]
    for event in tab.events:
        method, told = event["method"], event["params"]
        if method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            found.append(f"{method}: {told}")
        if method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith("data:") and told.get("type") != "Document":
                found.append(f"asked for {url}")
    return found
