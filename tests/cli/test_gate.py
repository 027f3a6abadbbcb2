"""The page answers to its own names and its own pages alone, and what visitors send wrong is a line in the log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tonetransfer.cli import demo

gate: Any = demo.find_part("gate")
ROOT = Path(__file__).parents[2]
OWN = {"host": "localhost:7860"}


def status(method: str, headers: dict[str, str], app: Any = None, path: str = "/") -> int:
    """What a gate on this computer answers to a request."""
    sent: list[dict[str, Any]] = []

    async def fine(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(gate.Gate(app or fine, gate.own_names("127.0.0.1"))(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return int(sent[0]["status"])


HOSTS = {"localhost": 200, "localhost:7860": 200, "127.0.0.1:7860": 200, "[::1]:7860": 200, "192.168.1.7:7860": 200, "LOCALHOST.": 200}
STRANGE = {"evil.example": 421, "evil.example:7860": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "": 421}


@pytest.mark.parametrize(("host", "wanted"), [*HOSTS.items(), *STRANGE.items()])
def test_only_own_names_are_answered(host: str, wanted: int) -> None:
    assert status("GET", {"host": host}) == status("POST", {"host": host}) == wanted


def test_a_page_behind_another_server_asks_itself() -> None:
    assert gate.is_at("https://music.example", "music.example") and gate.is_at("https://Music.example", "music.example:443")
    assert gate.is_at("http://[::1]:7860", "[::1]:7860") and not gate.is_at("http://[::1]:7861", "[::1]:7860")


def test_more_names_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONETRANSFER_HOSTS", "music.example, Tones.example")
    assert status("GET", {"host": "tones.example"}) == 200 and status("GET", {"host": "other.example"}) == 421
    monkeypatch.setattr("socket.gethostname", lambda: "Studio.local")
    assert {"studio", "studio.local"} <= gate.own_names("0.0.0.0")


SITES = [
    ("POST", {"origin": "http://evil.example"}, 403),
    ("POST", {"origin": "null"}, 403),
    ("POST", {"origin": "http://localhost.evil.example"}, 403),
    ("POST", {"origin": "http://localhost:7860@evil.example"}, 403),
    ("POST", {"origin": "http://localhost:3000"}, 403),  # another port of this computer
    ("POST", {"origin": "http://localhost"}, 403),
    ("POST", {"origin": "http://["}, 403),
    ("POST", {"origin": "http://localhost:port"}, 403),
    ("POST", {"sec-fetch-site": "cross-site"}, 403),
    ("POST", {"sec-fetch-site": "same-site"}, 403),  # another port of this computer
    ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),  # a form
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "http://evil.example"}, 403),
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),  # a link to the page
    ("POST", {"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}, 200),
    ("POST", {}, 200),  # a program
    ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
]


@pytest.mark.parametrize(("method", "headers", "wanted"), SITES)
def test_other_sites_may_link_and_nothing_else(method: str, headers: dict[str, str], wanted: int) -> None:
    assert status(method, OWN | headers) == wanted


@pytest.mark.parametrize(
    ("path", "error", "wanted"), [("/gradio_api/call/x", KeyError(7), 404), ("/a", KeyError(7), 500), ("/run/x", OSError(), 500)]
)
def test_what_goes_wrong_is_a_line(capfd: pytest.CaptureFixture[str], path: str, error: Exception, wanted: int) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise error

    assert status("POST", OWN, broken, path) == wanted
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and type(error).__name__ in said and path in said


def test_no_comma_stands_in_a_selector() -> None:
    """Gradio puts its own class before each part between commas, also those in brackets; such a rule is then none."""
    style = re.sub(r"/\*.*?\*/", "", (ROOT / "demo" / "page.css").read_text(encoding="utf-8"), flags=re.S)
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", style)
    assert len(selectors) > 50
    assert [one.strip() for one in selectors if not one.strip().startswith("@") and re.search(r"\([^()]*,[^()]*\)", one)] == []


@pytest.mark.slow
def test_the_page_behind_its_gate(tmp_path: Path, tiny_weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tempfile.tempdir
    blocks, address, work = demo.find_page().launch("127.0.0.1", folder=tmp_path / "work", weights=tiny_weights)
    try:
        upload = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\nhello\r\n--x--\r\n'
        form = {"Content-Type": "multipart/form-data; boundary=x"}

        def ask(path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
            request = urllib.request.Request(address.rstrip("/") + path, body, {key.replace("_", "-"): v for key, v in headers.items()})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        assert ask("/")[0] == 200 and ask("/", Host="evil.example")[0] == 421
        assert ask("/gradio_api/upload", upload, **form)[0] == 200
        assert ask("/gradio_api/upload", upload, **form, Origin="http://evil.example")[0] == 403
        calls = json.dumps({"data": []}).encode(), json.dumps({"data": [], "fn_index": 999, "session_hash": "a"}).encode()
        assert ask("/gradio_api/call/nothing", calls[0], Content_Type="application/json")[0] == 404
        assert ask("/gradio_api/queue/join", calls[1], Content_Type="application/json")[0] == 404
        bad = json.dumps({"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "joint"]}).encode()
        event = json.loads(ask("/gradio_api/call/analyze", bad, Content_Type="application/json")[1])["event_id"]
        assert "error" in ask(f"/gradio_api/call/analyze/{event}")[1]
    finally:
        blocks.close(verbose=False)
        work.close()
        tempfile.tempdir = before
        os.environ.pop("GRADIO_TEMP_DIR", None)
    said = capfd.readouterr().err
    assert "Traceback" not in said and "InvalidPathError" in said and len(said.splitlines()) < 10
