"""A headless Chromium that is told what to do over a pipe (the Chrome DevTools Protocol), for tests that look at the page as people do."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of a fresh browser."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 800, *, phone: bool = False, dark: bool = False) -> None:
        self._folder, self._size, self._phone, self._dark = folder, (width, height), phone, dark
        self._number = 0
        self._buffer = b""
        self.said: list[str] = []
        """Errors and warnings of the console, exceptions, and requests that failed."""

    def __enter__(self) -> Browser:
        assert PROGRAM is not None
        reads, self._writing = os.pipe()
        self._reading, writes = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        options += [f"--user-data-dir={self._folder}", "--disable-background-networking", "--disable-component-update", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", PROGRAM, *options],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        try:
            self._attach()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _attach(self) -> None:
        (page,) = [target for target in self._ask("Target.getTargets", session=False)["targetInfos"] if target["type"] == "page"]
        self._session = self._ask("Target.attachToTarget", session=False, targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        width, height = self._size
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if self._phone else 1, mobile=self._phone)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._writing)
        os.close(self._reading)

    def headers(self, **headers: str) -> None:
        """Send these with each request from now on."""
        self._ask("Network.setExtraHTTPHeaders", headers=headers)

    def downloads(self, folder: Path) -> None:
        """Save what is downloaded from now on in a folder, without a question."""
        self._ask("Browser.setDownloadBehavior", session=False, behavior="allow", downloadPath=str(folder))

    def open(self, url: str) -> None:
        self._ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, limit_s: float = 60.0) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + limit_s
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"{script} does not become true"
            time.sleep(0.1)
        return found

    def press(self, key: str) -> None:
        """Press Tab, Enter, Escape, a letter or a digit."""
        number = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key) or ord(key.upper())
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number, text=text)

    def click(self, script: str) -> None:
        """Click what an expression names, as a mouse does, or as a finger where the page is a phone's."""
        x, y = self.run(
            f"(() => {{ const node = {script}; node.scrollIntoView({{ block: 'nearest' }}); const at = node.getBoundingClientRect(); "
            "return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Save the whole page, below the fold too."""
        data = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _ask(self, method: str, *, session: bool = True, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": self._session} if session else {})
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._hear()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._reading, 1 << 16)
            assert data, "the browser ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.said.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.said.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
