"""A real Chromium, without a window, driven by chromedriver's plain HTTP interface (W3C WebDriver)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def obstacle() -> str:
    """Return why there is no browser here; nothing where there is one."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed (Debian: chromium, chromium-driver)" if missing else ""


class Browser:
    """One session: a tab of a browser that is new to the world. ``folder`` gets its profile and its downloads."""

    def __init__(self, server: str, folder: Path) -> None:
        arguments = [*SWITCHES, f"--user-data-dir={folder / 'profile'}"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._server = server
        self._path = ""
        session = self._ask("/session", {"capabilities": {"alwaysMatch": {"browserName": "chrome", **wanted}}})
        self._path = f"/session/{session['sessionId']}"
        self._tell("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._ask("/url", {"url": "about:blank"})
        self.requests()  # those of the page that a new tab shows

    def pretend(self, *, width: int = 1280, scheme: str = "light") -> None:
        """Be so wide from now on, also narrower than a window can be, on a system with that colour scheme."""
        self._tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=True)
        media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # a smooth scroll outruns a click
        features = [{"name": name, "value": value} for name, value in media.items()]
        self._tell("Emulation.setEmulatedMedia", features=features)

    def open(self, page: Path | str) -> None:
        """Open a file, or an address, and wait until it is loaded."""
        self._ask("/url", {"url": page if isinstance(page, str) else page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a function body returns."""
        return self._ask("/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """Click as a mouse does: what is hidden or covered cannot be."""
        self._ask(f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace what is in a field, key by key."""
        element = self._find(selector)
        self._ask(f"/element/{element}/clear", {})
        self._ask(f"/element/{element}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def complaints(self) -> list[str]:
        """Return what the console said since the last call."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return the address of everything asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._ask("/se/log", {"type": "performance"})]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the session and its Chromium."""
        self._ask("", None, method="DELETE")

    def _find(self, selector: str) -> str:
        return str(self._ask("/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def _tell(self, command: str, **parameters: Any) -> None:
        self._ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, path: str, body: Any, *, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._server}{self._path}{path}", data=data, headers=headers, method=method)
        try:
            with urlopen(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"].partition("\nStacktrace")[0]) from None


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start chromedriver on a port of its own, and a session; both end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "chromedriver.log"
    process = subprocess.Popen(["chromedriver", f"--port={port}", f"--log-path={log}"], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        browser = Browser(f"http://127.0.0.1:{port}", folder)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("chromedriver does not answer")
