"""Measure the exported page on real phrases: each is played, where it is, as the instrument that it is.

    python tests/bench/web.py PHRASES RESULTS           # recordings, in Chromium
    python tests/bench/web.py PHRASES RESULTS --live    # block by block, in Node.js (wants web/node_modules)
    tonetransfer evaluate recordings PHRASES --results RESULTS

PHRASES are named after their instruments; RESULTS is a folder for what the page makes of them.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.signal

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import PATIENCE_MS, chromium

import tonetransfer as tt
from tonetransfer.evaluation.recordings import read_phrases
from tonetransfer.export.web import WebPlayer, export_web
from tonetransfer.pipeline.target import find_target

WEB = Path(__file__).parents[2] / "web"
RATE, LOW_PASS_HZ, BLOCK = 48000, 7000, 960  # as in web/src/sound.js
TAIL_S = 0.5  # of silence, until the last is heard


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_told: object) -> None:
        pass


def play_recordings(address: str, phrases: Mapping[Path, str], results: Path) -> None:
    """As somebody does who drops a file."""
    with chromium() as browser:
        for path, name in phrases.items():
            page = browser.new_page(accept_downloads=True)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(address)
            page.wait_for_selector(".card")
            page.check(f'input[name="instrument"][value="{name}"]', force=True)
            page.check('input[name="octave"][value="0"]', force=True)
            page.set_input_files("#file", str(path))  # it is played at once
            page.wait_for_selector("#result:not([hidden])")
            with page.expect_download() as kept:
                page.click("#download")
            kept.value.save_as(results / f"{path.stem}.wav")
            print(f"{path.name}: {page.inner_text('#facts')}", flush=True)
            page.close()


def play_live(address: str, phrases: Mapping[Path, str], results: Path) -> None:
    """As somebody does who plays into a microphone."""
    low_pass = scipy.signal.butter(8, LOW_PASS_HZ, fs=RATE, output="sos")
    with tempfile.TemporaryDirectory() as folder:
        for path in phrases:
            sound = np.pad(tt.load_audio(path, RATE)[0].numpy(), (0, round(TAIL_S * RATE)))
            sound = sound[: len(sound) // BLOCK * BLOCK]
            sound.tofile(Path(folder) / f"{path.stem}.48k")
            scipy.signal.sosfilt(low_pass, sound)[::3].astype(np.float32).tofile(Path(folder) / f"{path.stem}.16k")
        jobs = [(path.stem, name) for path, name in phrases.items()]
        (Path(folder) / "jobs.json").write_text(json.dumps(jobs))
        subprocess.run(["node", "bench/live.js", address, folder], cwd=WEB, check=True)
        for stem, _ in jobs:
            tt.save_audio(results / f"{stem}.wav", np.fromfile(Path(folder) / f"{stem}.live", np.float32), RATE, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phrases", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--live", action="store_true")
    arguments = parser.parse_args()
    arguments.results.mkdir(exist_ok=True)
    model = tt.load_model()
    phrases = read_phrases(arguments.phrases, model.names).instruments
    players = [WebPlayer(model, find_target(model, model.sample_rate, to=name), name) for name in sorted(set(phrases.values()))]
    with tempfile.TemporaryDirectory() as folder:
        export_web(Path(folder) / "site", players)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=f"{folder}/site"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        play = play_live if arguments.live else play_recordings
        play(f"http://127.0.0.1:{server.server_port}/", phrases, arguments.results)
        server.shutdown()


if __name__ == "__main__":
    main()
