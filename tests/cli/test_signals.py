"""A command that is ended says so and what is kept, leaves nothing beside its output, and takes its workers with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SAMPLE_RATE, melody, tone
from processes import descendants, is_alive

from tonetransfer.audio.files import save_audio

CONFIG = """
soundfont: none.sf2
performances_per_window: {named: 40, variants: 1, extras: 1}
slopes: {flute: 1.0}
sources: {own: {source: a test, licence: CC0-1.0, credit: nobody}}
timbres:
  flute: {family: flute, range: [60, 72], source: own, folder: notes}
parallel: {instruments: [], range: [60, 72], soundfonts: {}, sources: {}}
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def begin(*arguments: object, cwd: Path, own_group: bool = False) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(cwd), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "tonetransfer", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heed_signals}
    return subprocess.Popen(command, cwd=cwd, env=environment, process_group=0 if own_group else None, **pipes)  # type: ignore[call-overload]


def heed_signals() -> None:
    """Take back what nohup, or a shell that runs tests in the background, hands down to every child: signals that are ignored."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_ended(processes: list[int]) -> None:
    deadline = time.monotonic() + 20.0
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, processes))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.wav"
    save_audio(path, melody([60, 64, 67, 72] * 125), SAMPLE_RATE)  # five minutes
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("number", "after_s"), [(signal.SIGTERM, 0.5), (signal.SIGINT, 3.5), (signal.SIGHUP, 3.5)])
def test_nothing_is_left_of_a_transfer_that_is_ended(
    tmp_path: Path, recording: Path, tiny_weights: Path, number: int, after_s: float
) -> None:
    process = begin("transfer", recording, "out.wav", "--to", tiny_weights, cwd=tmp_path)
    while process.poll() is None and processor_s(process.pid) < after_s:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err.strip().splitlines()[-1] == "tonetransfer: interrupted; nothing was written" and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


LOST = """
import os, signal, time
from tonetransfer.cli import main
main.INSIST_S = 0.2
main._as_program()
class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
one = Ends()
try:
    del one
    time.sleep(0.1)
    print("lost")
    time.sleep(10.0)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("ended")
"""


def test_an_interruption_that_is_lost_comes_again_and_disturbs_no_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, preexec_fn=heed_signals)
    assert ended.stdout.split() == ["lost", "ended"] and ended.returncode == 0 and ended.stderr == ""


HELPER = """
import os, signal
from tonetransfer.cli import main
main._as_program()
for number in (signal.SIGINT, signal.SIGHUP):
    os.kill(os.getpid(), number)
print("goes on")
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_helper_of_a_distributed_run_leaves_ctrl_c_to_who_began_it() -> None:
    helper = {**os.environ, "LOCAL_RANK": "1"}
    done = subprocess.run([sys.executable, "-c", HELPER], capture_output=True, text=True, preexec_fn=heed_signals, env=helper)
    assert done.stdout == "goes on\n" and "KeyboardInterrupt" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, number: int) -> None:
    (tmp_path / "notes").mkdir()
    for midi in range(60, 73, 3):
        save_audio(tmp_path / "notes" / f"{midi}.wav", tone(440.0 * 2.0 ** ((midi - 69) / 12.0), 3.0), SAMPLE_RATE)
    (tmp_path / "corpus.yaml").write_text(CONFIG)
    process = begin("corpus", "render", "corpus.yaml", "out", "--samples", ".", "--workers", 2, cwd=tmp_path)
    while process.poll() is None and not list((tmp_path / "out").glob("*/*.flac")):
        time.sleep(0.1)
    workers = descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert len(workers) >= 2 and process.returncode == (-9 if number == signal.SIGKILL else 128 + number), err
    if number != signal.SIGKILL:
        assert "interrupted; what is rendered is kept: give the same command again to go on" in err and "Traceback" not in err
    check_ended(workers)


@pytest.mark.slow
def test_workers_that_are_still_being_loaded_say_nothing_either(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes of a terminal."""
    (tmp_path / "in").mkdir()
    for midi in range(60, 68):
        save_audio(tmp_path / "in" / f"{midi}.wav", melody([midi, midi + 2]), SAMPLE_RATE)
    process = begin("prepare", "in", "out", "--workers", 2, cwd=tmp_path, own_group=True)
    while process.poll() is None and len(workers := descendants(process.pid)) < 3:  # one watches over what they share
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    told = "tonetransfer: interrupted; what is done is kept: give the same command again to go on"
    assert process.returncode == 128 + signal.SIGINT and err.splitlines()[-1] == told and "Traceback" not in err
    check_ended(workers)


def test_nothing_is_interrupted_once_the_work_is_done() -> None:
    lines = (
        "import atexit, os, signal, sys",
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))",  # while Python ends
        "sys.argv = ['tonetransfer', 'instruments']",
        "from tonetransfer.cli.main import main",
        "sys.exit(main())",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0 and "violin" in done.stdout and done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_page_that_has_just_begun_ends_without_a_word_of_python(tmp_path: Path, number: int) -> None:
    """A terminal sends it to the page, and to all processes in its group: the one that listens to recordings is still being loaded."""
    page = begin("demo", cwd=tmp_path, own_group=True)
    assert page.stderr is not None
    told = page.stderr.readline()
    while not (started := descendants(page.pid)):
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(page.pid, number)
    more, wrong = page.communicate(timeout=60.0)
    assert "the page is at http://127.0.0.1:" in told and "its files are removed" in more + wrong
    assert "Traceback" not in wrong and "Interrupt" not in wrong
    assert not list(tmp_path.glob("tonetransfer-*")) and not any(map(is_alive, started))
