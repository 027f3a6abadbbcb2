"""Sharing: huggingface_hub's own calls, answered by a small hub on this machine's loopback."""

from __future__ import annotations

import base64
import filecmp
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from command_line import Run, as_json
from conftest import SAMPLE_RATE, melody

from tonetransfer.audio.files import save_audio
from tonetransfer.errors import WeightsError
from tonetransfer.models import hub
from tonetransfer.models.weights import load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of a hub's interface as is used: repositories that are folders, files that are small."""

    root: Path

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, content: object = None, *, code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self) -> None:
        self.answer({"error": "Repository not found"}, code=404, headers={"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.split("?")[0].strip("/").split("/")  # api/models/OWNER/REPO/commit/main
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self.answer({"url": f"{self.url}/{name}", "id": name})
        elif parts == ["api", "validate-yaml"]:
            wrong = [] if "license: other" in json.loads(body)["content"] else [{"message": "no licence"}]
            self.answer({"errors": wrong, "warnings": []}, code=400 if wrong else 200)
        elif parts[4:5] == ["preupload"]:
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]]
            self.answer({"files": modes})
        elif parts[4:5] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    (self.root / parts[2] / parts[3] / line["value"]["path"]).write_bytes(base64.b64decode(line["value"]["content"]))
            address = f"{self.url}/{parts[2]}/{parts[3]}"
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": f"{address}/commit/{COMMIT}"})
        else:
            self.missing()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            folder = self.root.joinpath(*parts[2:4])
            if not folder.is_dir():
                return self.missing()
            files = sorted(path for path in folder.iterdir() if path.is_file())
            if "tree" in parts:
                return self.answer([{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": hashed(p)} for p in files])
            siblings = [{"rfilename": path.name} for path in files]
            return self.answer({"id": "/".join(parts[2:4]), "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        path = self.root.joinpath(*parts[:2], parts[-1])
        if not path.is_file():
            return self.missing()
        return self.answer(path.read_bytes(), headers={"ETag": f'"{hashed(path)}"', "X-Repo-Commit": COMMIT})

    @property
    def url(self) -> str:
        return f"http://{self.headers['Host']}"


def hashed(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a hub's repositories; huggingface_hub is told of it as any other hub."""
    from huggingface_hub import constants, file_download, hf_api

    root = tmp_path_factory.mktemp("hub")
    handler = type("Here", (Hub,), {"root": root})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for place in (constants, file_download, hf_api):
        for name, value in {"ENDPOINT": address, "HUGGINGFACE_CO_URL_TEMPLATE": template}.items():
            if hasattr(place, name):
                monkeypatch.setattr(place, name, value)
    for name in ("HF_HUB_CACHE", "HF_XET_CACHE"):
        if hasattr(constants, name):
            monkeypatch.setattr(constants, name, str(root / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
    yield root
    server.shutdown()


def test_what_is_pushed_is_pulled_and_played(served: Path, tiny_weights: Path, run: Run) -> None:
    found = as_json(run("push", tiny_weights, "hf://me/fiddle", "--json"))
    assert found["url"].endswith("/me/fiddle")
    assert (served / "me/fiddle/tiny.safetensors").read_bytes() == tiny_weights.read_bytes()
    assert "library_name: tonetransfer" in (served / "me/fiddle/README.md").read_text()
    assert as_json(run("pull", "hf://me/fiddle", "--json"))["instruments"] == ["violin", "alto_sax", "tuba"]
    assert Path("tiny.safetensors").read_bytes() == tiny_weights.read_bytes()
    code, _, err = run("pull", "hf://me/fiddle")
    assert code == 1 and "--overwrite" in err
    save_audio("voice.wav", melody([62, 65]), SAMPLE_RATE)
    assert as_json(run("transfer", "voice.wav", "a.wav", "--to", "hf://me/fiddle:tuba", "--json"))["instrument"] == "tuba"
    assert run("transfer", "voice.wav", "b.wav", "--to", "tiny.safetensors:tuba")[0] == 0
    assert filecmp.cmp("a.wav", "b.wav", shallow=False)


def test_the_card_beside_it_becomes_the_page(served: Path, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    card = "---\nlicense: other\n---\n# All about it\n"
    path.with_suffix(".md").write_text(card)
    hub.push(path, "hf://me/mine")
    assert (served / "me/mine/README.md").read_text() == card


def test_several_files_want_a_choice(served: Path, tiny_weights: Path, tmp_path: Path) -> None:
    (served / "me/many").mkdir(parents=True)
    for name in ("a", "b"):
        (served / f"me/many/{name}.safetensors").write_bytes(tiny_weights.read_bytes())
    with pytest.raises(WeightsError, match="hf://me/many/a.safetensors"):
        hub.pull("hf://me/many", tmp_path / "x.safetensors")
    path = hub.pull("hf://me/many/b.safetensors", tmp_path / "x.safetensors")
    assert load_model(path).names == load_model(tiny_weights).names


def test_what_is_no_instrument_is_not_kept(served: Path, tmp_path: Path) -> None:
    (served / "me/evil").mkdir(parents=True)
    torch.save({"a": torch.zeros(1)}, served / "me/evil/evil.safetensors")
    with pytest.raises(WeightsError, match="not a readable weights file"):
        hub.pull("hf://me/evil", tmp_path / "evil.safetensors")
    assert not list(tmp_path.iterdir())
    (served / "me/none").mkdir(parents=True)
    with pytest.raises(WeightsError, match="holds no weights file"):
        hub.pull("hf://me/none")


def test_nobody_there(served: Path, run: Run) -> None:
    code, _, err = run("pull", "hf://me/nowhere")
    assert code == 1 and "hf://me/nowhere: was not fetched" in err and err.count("\n") == 1


@pytest.mark.parametrize("address", ["hf://", "hf://me", "hf://me/a/b", "hf://me/a/b.bin", "https://me/a"])
def test_no_address(address: str) -> None:
    with pytest.raises(WeightsError, match="hf://owner/repo is wanted"):
        hub.parse_address(address)


def test_addresses() -> None:
    assert hub.parse_address("hf://me/a") == ("me/a", None, None)
    assert hub.parse_address("hf://me/a.b/c/d.safetensors:alto sax") == ("me/a.b", "c/d.safetensors", "alto sax")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tonetransfer.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"tonetransfer\[hub\]"):
        hub.fetch("hf://me/a")


@pytest.mark.parametrize("file", ["../violin.safetensors", "a/../../violin.safetensors", "/etc/violin.safetensors", "a\\b.safetensors"])
def test_a_listing_that_leads_out_of_the_repository_is_refused(file: str) -> None:
    with pytest.raises(WeightsError, match="no place within it"):
        hub._only("hf://me/violin", ["README.md", file])


@pytest.mark.parametrize("address", ["hf://me/violin/../violin.safetensors", "hf://../violin", "hf://me/.."])
def test_an_address_that_leads_out_is_none(address: str) -> None:
    with pytest.raises(WeightsError, match="no address"):
        hub.parse_address(address)
