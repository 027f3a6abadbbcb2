"""Take the picture of the page in the browser that stands on the first page of the site.

python docs/screenshot.py        # starts the page, opens it in Chromium, writes docs/page.jpg
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "page.jpg"
WIDTH, HEIGHT = 1280, 960
SETTLED_MS = 20_000  # until what the page renders when it is opened is there


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(address: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"the page does not answer at {address}; start `tonetransfer demo` and read what it says")


def main() -> None:
    address = f"http://127.0.0.1:{(port := free_port())}/"
    server = subprocess.Popen([sys.executable, "-m", "tonetransfer", "demo", "--port", str(port)])
    try:
        wait(address)
        with sync_playwright() as running:
            browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            page.goto(address, timeout=180_000)
            page.wait_for_selector(".tt-card", timeout=180_000)
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=PICTURE, type="jpeg", quality=80)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
