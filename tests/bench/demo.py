"""Measure the page: how soon it is ready and heard, how soon the first result, ten visitors at once, and two hundred hostile uploads.

    python tests/bench/demo.py                  # all of it, as JSON
    python tests/bench/demo.py --hostile 50     # fewer

A server of its own is started (`tonetransfer demo`), whose temporary files go to a folder that is looked into afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
CHOICES = ("violin", *[None] * 17)  # the parameters of /transfer, in their order
KEPT_S = 90.0
RATE = 48000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`tonetransfer demo` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "tonetransfer", "demo", "--port", str(self.port), "--keep", str(KEPT_S / 60.0)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(folder)}, stderr=subprocess.DEVNULL)

    def wait(self) -> float:
        """Seconds from the command to the first page."""
        while True:
            try:
                with urllib.request.urlopen(self.address, timeout=5) as answer:
                    answer.read()
                return time.perf_counter() - self.began
            except OSError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.05)

    def client(self) -> Any:
        from gradio_client import Client

        return Client(self.address, verbose=False, httpx_kwargs={"timeout": 300.0}, download_files=str(self.folder.parent / "downloads"))

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024.0

    def cpu_seconds(self) -> float:
        """That the server has used; on a busy computer it says more than the clock does."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def files(self) -> list[str]:
        return [os.path.relpath(os.path.join(place, name), self.folder) for place, _, names in os.walk(self.folder) for name in names]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def melody(seconds: float, lowest_hz: float) -> np.ndarray:
    """Notes of half a second, each with harmonics and a soft beginning and end, (n_samples,)."""
    sound = []
    for number in range(round(2 * seconds)):
        f0 = lowest_hz * 2.0 ** ((0, 2, 4, 7)[number % 4] / 12.0)
        t = np.arange(RATE // 2) / RATE
        tone = sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, 7))
        sound.append(0.2 * tone * np.clip(np.minimum(t, t[-1] - t) / 0.03, 0.0, 1.0))
    return np.concatenate(sound)


def in_the_browser(server: Server, folder: Path, kind: str) -> dict[str, float]:
    """Seconds until something sounds, from the visit on and from a click on a card on; recordings of 10 s, medians of three cards.

    Parameters
    ----------
    server : Server
    folder : Path
    kind : str
        "cold" or "warm": how the figures are called.
    """
    from playwright.sync_api import sync_playwright

    sounds = "!document.querySelector('#tt-player').paused && document.querySelector('#tt-player').currentTime > 0"
    found: dict[str, float] = {}

    def since(begin: float) -> float:
        page.wait_for_function(sounds, timeout=300_000, polling=20)
        return time.perf_counter() - begin

    with sync_playwright() as running:
        switches = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        page = running.chromium.launch(executable_path="/usr/bin/chromium", args=switches).new_page(
            viewport={"width": 390, "height": 844},
            bypass_csp=True,  # what waits in the page is a string that is evaluated
        )
        page.set_default_timeout(300_000)
        begin = time.perf_counter()
        page.goto(server.address)
        page.wait_for_function("document.querySelector('#tt-player')?.duration > 0", polling=20)
        found[f"{kind}_page_seconds"] = time.perf_counter() - begin
        click = time.perf_counter()
        page.click("#tt-go")
        found[f"{kind}_click_to_sound_seconds"], found[f"{kind}_visit_to_sound_seconds"] = since(click), since(begin)
        box = page.locator("#tt-go").bounding_box()
        found["phone_main_button_bottom_px"] = box["y"] + box["height"]
        page.wait_for_selector(".tt-card")
        path = folder / f"page_{kind}.wav"
        soundfile.write(path, melody(10.0, 247.0), RATE)
        begin = time.perf_counter()
        page.set_input_files("#tt-upload", str(path))
        page.wait_for_function("document.querySelector('#tt-command').textContent.includes('page_')", polling=20)
        found[f"{kind}_new_recording_seconds"] = since(begin)
        cards = []
        for name in ("flute", "trumpet", "oboe"):
            page.evaluate("document.querySelector('#tt-player').pause()")
            begin = time.perf_counter()
            page.evaluate(f"document.querySelector('.tt-card input[value={name}]').click()")
            page.wait_for_function(f"document.querySelector('#tt-command').textContent.includes('--to {name}')", polling=20)
            cards.append(since(begin))
        found[f"{kind}_new_card_seconds"] = float(np.median(cards))
    return found


def first_result(server: Server, folder: Path) -> dict[str, float]:
    """Seconds from the call to the result for 10 s of sound: each time another recording, on a warm server."""
    from gradio_client import handle_file

    client, seconds, cpu = server.client(), [], []
    for number in range(5):
        path = folder / f"ten{number}.wav"
        soundfile.write(path, melody(10.0, 220.0 + 10.0 * number), RATE)
        uploaded = handle_file(path)
        begin, used = time.perf_counter(), server.cpu_seconds()
        client.predict(uploaded, to="violin", api_name="/transfer")
        seconds.append(time.perf_counter() - begin)
        cpu.append(server.cpu_seconds() - used)
    return {
        "first_result_seconds": float(np.median(seconds[1:])),
        "first_result_best_seconds": min(seconds[1:]),
        "first_result_cpu_seconds": float(np.median(cpu[1:])),
    }


def ten_at_once(server: Server, folder: Path) -> dict[str, float]:
    """Ten visitors with ten pitches: how many are served, the largest error of f0, and how long all of them take."""
    from gradio_client import handle_file

    import tonetransfer as tt

    pitches = [200.0 * 2.0 ** (number / 7.0) for number in range(10)]
    clients, errors = [server.client() for _ in pitches], [float("inf")] * 10
    results: list[Any] = [None] * 10
    for number, f0 in enumerate(pitches):
        t = np.arange(4 * RATE) / RATE
        soundfile.write(folder / f"at_once{number}.wav", 0.2 * sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, 7)), RATE)

    def visit(number: int) -> None:
        given = handle_file(folder / f"at_once{number}.wav")
        results[number] = clients[number].predict(given, to="violin", octave=0, api_name="/transfer")

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(10)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    model = tt.load_model()
    for number, result in enumerate(results):
        if result is not None:
            audio, rate = tt.load_audio(result[0])
            controls = tt.analyze(audio, rate, model)
            f0 = float(controls.f0_hz[controls.note_frames()].median())
            errors[number] = abs(1200.0 * np.log2(f0 / pitches[number]))
    return {
        "at_once_served": sum(result is not None for result in results),
        "at_once_f0_error_cents": max(errors),
        "at_once_seconds": elapsed,
    }


def wav_header(n_bytes: int, channels: int = 1, rate: int = RATE) -> bytes:
    body = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels * 2) & 0xFFFFFFFF, (channels * 2) & 0xFFFF, 16)
    return (
        b"RIFF"
        + struct.pack("<I", min(n_bytes + 36, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + body
        + b"data"
        + struct.pack("<I", n_bytes)
    )


def encoded(samples: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def hostile(chance: random.Random) -> tuple[str, bytes]:
    """A name and a content that nobody ought to trust."""
    kind = chance.randrange(12)
    if kind == 0:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.wav", b"\0" * 50_000_000)
        content = buffer.getvalue()
    elif kind == 1:
        content = wav_header(0xFFFFFFF0) + chance.randbytes(5000)
    elif kind == 2:
        content = wav_header(4000, channels=65535, rate=4_000_000_000) + chance.randbytes(4000)
    elif kind == 3:
        content = encoded(np.full(20000, chance.choice([np.nan, np.inf, -np.inf])))
    elif kind == 4:
        content = encoded(np.zeros(3600 * 8000, np.int16), 8000, "FLAC", "PCM_16")  # an hour in a few kilobytes
    elif kind == 5:
        content = encoded(1e30 * np.sin(np.arange(9000.0)))
    elif kind == 6:
        content = chance.randbytes(chance.randrange(1, 100_000))
    elif kind == 7:
        content = b""
    elif kind == 8:
        content = encoded(np.zeros((2000, chance.choice([255, 1024]))))
    elif kind == 9:
        content = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>" * 50
    elif kind == 10:
        whole = bytearray(encoded(0.1 * np.sin(np.arange(48000.0) / 20.0), form="FLAC", subtype="PCM_16"))
        for _ in range(30):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        content = bytes(whole[: chance.randrange(100, len(whole))])
    else:
        content = encoded(0.1 * np.sin(np.arange(480.0) / 20.0))
    name = chance.choice(
        [
            *(
                "../../../../etc/passwd",
                "..\\..\\evil.wav",
                "<img src=x onerror=alert(1)>.wav",
                "a" * 240 + ".wav",
                "con.wav",
                "x;rm -rf .wav",
            ),
            *("/etc/shadow", "\u202egnp.wav", ".hidden", "%2e%2e%2f%2e%2e%2fpasswd", "ok.wav", "ok.flac", "song.mp3", "two\r\nlines.wav"),
        ]
    )
    return name, content


def upload(address: str, name: str, content: bytes) -> str | None:
    """POST a file as a browser would; where the server put it, or None if it was refused."""
    border = uuid.uuid4().hex
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{quoted}"\r\nContent-Type: audio/wav\r\n\r\n'
    body = head.encode() + content + f"\r\n--{border}--\r\n".encode()
    request = urllib.request.Request(f"{address}gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={border}"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(json.load(answer)[0])
    except urllib.error.HTTPError:
        return None


def ask(address: str, path: Any) -> str:
    """Call /transfer by hand with any path; what the server says in the end."""
    data = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, *CHOICES]}).encode()
    request = urllib.request.Request(f"{address}gradio_api/call/transfer", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}gradio_api/call/transfer/{event}", timeout=300) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"


def attack(server: Server, count: int, folder: Path) -> dict[str, Any]:
    """Upload what is hostile and have it played; then an honest visitor comes, and the folder must empty itself."""
    from gradio_client import handle_file

    chance, leaks, played = random.Random(0), 0, 0
    before, most = server.memory_mb(), 0.0
    paths = [
        "/etc/passwd",
        "../../../etc/passwd",
        "/proc/self/environ",
        "file:///etc/passwd",
        f"http://127.0.0.1:{server.port}/",
        "",
        None,
        7,
        "\0",
    ]
    for number in range(count):
        if number % 5 == 4:
            said = ask(server.address, chance.choice(paths))
        else:
            place = upload(server.address, *hostile(chance))
            said = ask(server.address, place) if place else "refused"
        played += "event: complete" in said
        leaks += "root:" in said or "Traceback" in said or str(ROOT) in said
        most = max(most, server.memory_mb())
    alive = server.process.poll() is None
    path = folder / "honest.wav"
    soundfile.write(path, melody(2.0, 300.0), RATE)
    honest = server.client().predict(handle_file(path), to="violin", api_name="/transfer")
    deadline = time.perf_counter() + KEPT_S + 90.0
    while server.files() and time.perf_counter() < deadline:
        time.sleep(1.0)
    return {
        "hostile": count,
        "hostile_leaks": leaks,
        "hostile_played": played,
        "server_alive": alive and bool(honest),
        "files_left": server.files(),
        "memory_before_mb": round(before),
        "memory_most_mb": round(most),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "server"
        folder.mkdir()
        server = Server(folder)
        found: dict[str, Any] = {"load_average": os.getloadavg()[0], "page_ready_seconds": server.wait()}
        found["page_ready_cpu_seconds"] = server.cpu_seconds()
        try:
            found |= in_the_browser(server, Path(place), "cold")
            found |= in_the_browser(server, Path(place), "warm")
            found |= first_result(server, Path(place))
            found |= ten_at_once(server, Path(place))
            if arguments.hostile:
                found |= attack(server, arguments.hostile, Path(place))
        finally:
            server.close()
        found["files_left_after_the_end"] = server.files()
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
