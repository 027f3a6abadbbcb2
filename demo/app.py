"""The page of ``tonetransfer demo``, and of a hosted Space: its functions, its files, and the server that offers both.

The page itself is page.html with its components in JavaScript; it asks the functions here through Gradio's queue. Everything that is
heard or measured comes from the public API of ``tonetransfer``, by way of :mod:`studio`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import inspect
import json
import mimetypes
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:
    from . import api, cards, gate, pictures, studio
    from .no_stubs import no_stubs
except ImportError:  # run as a script, as a hosted Space does
    import api  # type: ignore[no-redef]
    import cards  # type: ignore[no-redef]
    import gate  # type: ignore[no-redef]
    import pictures  # type: ignore[no-redef]
    import studio  # type: ignore[no-redef]
    from no_stubs import no_stubs  # type: ignore[no-redef]

with no_stubs():
    import gradio as gr
    from gradio import networking, processing_utils, queueing, routes
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Match, Route

HERE = Path(__file__).parent
FIRST = "violin"
EXAMPLES = {"hum": "Hummed tune", "whistle": "Whistled tune", "flute": "Flute"}
ONE_EACH, FAMILY, ALL = "One of each kind", "One family", "All of them"
KINDS = (
    *("violin", "cello", "flute", "pan_flute", "oboe", "clarinet", "bassoon", "alto_sax", "tenor_sax", "trumpet", "horn", "trombone"),
    *("tuba", "harmonica", "accordion", "organ", "voice_aah", "acoustic_guitar"),
)
AT_ONCE = 2  # jobs; the others queue
WAITING = 64
PREVIEW_S = 2.5  # of a card
PARTS = (".css", ".js", ".svg")  # files of the page in this folder, by ending
SECURITY = (  # nothing comes from elsewhere; worklets, which record, are made of text (blob:)
    "default-src 'self'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'"
)
SPEEDS = {"listen": 0.12, "play": 0.06, "fit": 6.0}  # seconds of work for a second of sound, or a reference, until measured here


class Page:
    """The functions behind the page, around one studio. Those that take time yield what they are at: `progress` and `left_s`."""

    def __init__(self, work: studio.Studio) -> None:
        self.studio = work
        self._speeds = dict(SPEEDS)
        self._copying = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Cards of all instruments, and what the page has to know of them."""
        known = self.studio.instruments()
        first = next((one.name for one in known if one.name == FIRST), known[0].name)
        return {"picker": cards.picker(known, first, studio.note_name), "instruments": cards.facts(known), "first": first}

    def instruments(self) -> list[dict[str, Any]]:
        """Names, families and ranges of all instruments."""
        return [
            {
                "name": one.name,
                "family": one.family,
                "lowest_note": studio.note_name(one.lowest_midi),
                "highest_note": studio.note_name(one.highest_midi),
            }
            for one in self.studio.instruments()
        ]

    def example(self, name: str) -> str:
        """A copy of an example, inside the work folder: the same one for all, so that it is analysed once.

        Raises
        ------
        Refusal
            There is no such example.
        """
        if name not in EXAMPLES:
            raise studio.Refusal(f"there is no example {name!r}; one of {', '.join(EXAMPLES)} is wanted")
        place = self.studio.folder / "examples" / f"{name}.mp3"
        place.parent.mkdir(exist_ok=True)
        with self._copying:
            if not place.is_file():
                shutil.copy(HERE / "examples" / place.name, place)
        return str(place)

    def warm_up(self) -> None:
        """Do once what the first visitor would otherwise wait for; the finished take that the page opens with is made of it, too."""
        source = self.studio.analyze(self.example("hum"))
        first = self.start()["first"]
        for settings in (studio.Settings(), studio.Settings(room=0.1)):
            *_, performance = self.studio.perform_source(source, studio.Player(first), settings)
        self.taken(performance, [])
        self.analyze(source)

    def look(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Analyse a recording: its notes and contours."""
        source = yield from self._listen(given, given.get("tracker") or studio.Settings.tracker)
        yield {"look": self.looked(source)}

    def looked(self, source: studio.Source) -> dict[str, Any]:
        """Contents of the page for a recording that is not played yet."""
        scene = pictures.scene(source, None, studio.note_name)
        return {"scene": scene, "warnings": list(source.warnings), "path": source.path, "sound": self._playable(source)}

    def play(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Play a recording: its first seconds as soon as they are there, then the whole."""
        player, settings, edits = api.read(**(given.get("wish") or {}))
        source = yield from self._listen(given, settings.tracker)
        seconds = len(source.audio) / self.studio.model.sample_rate
        begun_at = yield from self._fit(player, settings.tracker)
        state: dict[str, Any] = {"share": 0.0}
        steps = self.studio.perform_source(
            source,
            player,
            settings,
            edits,
            progress=functools.partial(state.__setitem__, "share"),
            begun=functools.partial(state.__setitem__, "begun"),
        )
        started, performance = time.perf_counter(), None
        for performance in steps:
            if performance is not None:
                break
            if (audio := state.pop("begun", None)) is not None:
                yield {
                    "beginning": self._url(self.studio.save_sound(audio, "beginning")),
                    "seconds": len(audio) / self.studio.model.sample_rate,
                }
            left_s = max(self._speeds["play"] * seconds * (1.0 - state["share"]), 0.0)
            yield {"doing": f"Playing {player.name}", "progress": begun_at + (1.0 - begun_at) * state["share"], "left_s": left_s}
        assert performance is not None
        self._learn("play", time.perf_counter() - started, seconds)
        taken = self.taken(performance, edits)
        if given.get("page"):
            taken["files"]["Page"] = self._url(self.studio.save_page(performance))
        yield {"take": taken}

    def _fit(self, player: studio.Player, tracker: str) -> Iterator[Any]:
        """Listen to the reference, if one plays; returns the share that is done then."""
        if not player.reference:
            return 0.4
        started = time.perf_counter()
        fit = functools.partial(self.studio.target, player, tracker)
        yield from self._at_work(f"Listening to {Path(player.reference).name}", fit, self._speeds["fit"], 0.3, after=0.4)
        if (took_s := time.perf_counter() - started) > 0.5:  # it was not remembered
            self._learn("fit", took_s, 1.0)
        return 0.7

    def taken(self, performance: studio.Performance, edits: list[dict[str, Any]]) -> dict[str, Any]:
        """Contents of the page for a performance."""
        import tonetransfer as tt

        z, source = performance.target.z, performance.source
        points = {"Your recording": source.z, "Result": z}
        nearest = tt.nearest_timbres(self.studio.model, z.reshape(-1, z.shape[-1]).mean(0))
        files = {key.upper(): self._url(path) for key, path in self.studio.save(performance).items()}
        files |= {"MIDI": self._url(self.studio.save_midi(performance)), "Controls": self._url(self.studio.save_controls(source, edits))}
        return {
            "who": performance.player.name,
            "moved": performance.arrangement.transposed,
            "warnings": list(performance.warnings),
            "command": performance.command,
            "files": files,
            "scene": pictures.scene(source, performance, studio.note_name),
            "map": pictures.timbre_map(self.studio.model, nearest, points, self._titles()),
        }

    def preview(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The first notes of a recording on an instrument."""
        player, settings, edits = api.read(**(given.get("wish") or {}))
        source = yield from self._listen(given, settings.tracker)
        performance = self.studio.beginning(source, player, settings, edits, seconds=PREVIEW_S, from_first_note=True)
        yield {"sound": as_data(self.studio.save(performance, ["mp3"])["mp3"])}

    def compare(
        self, source: studio.Source, which: str, player: studio.Player, settings: studio.Settings, edits: list[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """The beginning of a recording on many instruments: a cell for each, and an archive in the end."""
        known = self.studio.instruments()
        if which == FAMILY:
            families = {one.family for one in known if one.name == player.instrument}
            chosen = [one for one in known if one.family in families]
        else:
            chosen = known if which == ALL else [one for name in KINDS for one in known if one.name == name]
        yield {
            "cell": {
                "name": "source",
                "title": "Your recording",
                "family": "voice",
                "note": source.name,
                "sound": as_data(self.studio.clip(source)),
            }
        }
        files: list[str] = []
        facts = cards.facts(known)
        for number, one in enumerate(chosen):
            performance = self.studio.beginning(source, studio.Player(one.name), settings, edits)
            files.append(self.studio.save(performance, ["mp3"])["mp3"])
            cell = {
                "name": one.name,
                "title": facts[one.name]["label"],
                "family": one.family,
                "note": moved_by(performance),
                "moved": performance.arrangement.transposed,
                "sound": as_data(files[-1]),
            }
            yield {"cell": cell, "doing": f"Playing {studio.spoken(one.name)}", "progress": (number + 1) / len(chosen)}
        yield {"archive": self.studio.zip(files, f"{studio.safe(Path(source.name).stem)}_compared.zip")}

    def compare_for_page(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """:meth:`compare`, as the page asks for it."""
        player, settings, edits = api.read(**(given.get("wish") or {}))
        source = yield from self._listen(given, settings.tracker)
        for step in self.compare(source, str(given.get("which")), player, settings, edits):
            if "cell" in step:
                step["cell"] |= {"drawing": cards.drawing(step["cell"]["name"], step["cell"]["family"])}
            yield {"archive": self._url(step["archive"])} if "archive" in step else step

    def analyze(self, source: studio.Source) -> tuple[str, str, str, dict[str, Any]]:
        """Descriptors of a recording, what the classifier says second by second, and its timbre among the named ones."""
        import tonetransfer as tt

        with self.studio.plain_words():
            described = tt.describe_controls(source.audio, source.heard)
            likeliest, ranked, steps = self.studio.classify(source)
            nearest = tt.nearest_timbres(self.studio.model, source.z)
        place = pictures.timbre_map(self.studio.model, nearest, {"Your recording": source.z}, self._titles())
        figures = {"instrument": likeliest, **described}
        return pictures.classified(ranked, steps), pictures.descriptors(described), place, figures

    def analyze_for_page(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """:meth:`analyze`, as the page asks for it."""
        source = yield from self._listen(given, given.get("tracker") or studio.Settings.tracker)
        seconds = len(source.audio) / self.studio.model.sample_rate
        told = yield from self._at_work("Measuring", lambda: self.analyze(source), 0.3 + 0.1 * seconds, 0.4)
        path = self.studio.new_folder() / f"{studio.safe(Path(source.name).stem)}_descriptors.json"
        path.write_text(json.dumps(told[3], indent=2), encoding="utf-8")
        yield {"html": "".join(told[:3]), "file": self._url(str(path))}

    def batch(
        self, sources: list[str | None], player: studio.Player, settings: studio.Settings, names: list[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Several recordings, with the same settings: a row for each, and an archive in the end.

        Raises
        ------
        Refusal
            There is none, or too many.
        """
        if not sources:
            raise studio.Refusal("there are no recordings yet; add some")
        if len(sources) > studio.MOST_FILES:
            raise studio.Refusal(f"{len(sources)} recordings came; {studio.MOST_FILES} at a time are taken: make several batches")
        files: list[str] = []
        for number, path in enumerate(sources):
            name = names[number] if names else Path(str(path)).name
            yield {"doing": f"Playing {name}", "progress": number / len(sources)}
            try:
                source, performance = self.studio.analyze(path, settings.tracker, name), None
                for performance in self.studio.perform_source(source, player, settings):
                    if performance is None:
                        yield {"progress": (number + 0.5) / len(sources)}
                assert performance is not None
                files.append(self.studio.save(performance, ["wav"])["wav"])
                row = [
                    name,
                    f"{len(performance.audio) / self.studio.model.sample_rate:.1f} s, {moved_by(performance)}",
                    performance.command,
                ]
            except studio.Refusal as refusal:
                row = [name, "left out", str(refusal)]
            yield {"row": row}
        yield {"archive": self.studio.zip(files, f"{studio.safe(player.stem)}.zip") if files else None}

    def batch_for_page(self, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """:meth:`batch`, as the page asks for it."""
        player, settings, _ = api.read(**(given.get("wish") or {}))
        paths, names = list(given.get("paths") or []), [file_name(one) for one in given.get("names") or []]
        for step in self.batch(paths, player, settings, names if len(names) == len(paths) else None):
            yield {"archive": self._url(step["archive"])} if step.get("archive") else step

    # How long it takes, and where files are

    def _listen(self, given: dict[str, Any], tracker: str) -> Iterator[Any]:
        """Analyse the recording that is given, unless it was already."""
        path = given.get("path") or (self.example(given["example"]) if given.get("example") else None)
        seconds = min(max(api.number("the length", given.get("seconds") or 10.0, 0, 1e6), 1.0), studio.LONGEST_S)
        name, started = file_name(given["name"]) if given.get("name") else None, time.perf_counter()
        known = self.studio.is_analysed(path, tracker)
        source = yield from self._at_work(
            "Listening", lambda: self.studio.analyze(path, tracker, name), self._speeds["listen"] * seconds, 0.4
        )
        if not known:
            self._learn("listen", time.perf_counter() - started, len(source.audio) / self.studio.model.sample_rate)
        return source

    def _at_work(self, doing: str, function: Callable[[], Any], expected_s: float, share: float, *, after: float = 0.0) -> Iterator[Any]:
        """Call a function that says nothing of how far it is; meanwhile tell how far it ought to be: a share, after another."""
        found: dict[str, Any] = {}

        def call() -> None:
            try:
                found["value"] = function()
            except BaseException as error:
                found["error"] = error

        thread, started = threading.Thread(target=call, daemon=True), time.perf_counter()
        thread.start()
        thread.join(0.05)
        while thread.is_alive():
            passed = time.perf_counter() - started
            done = min(passed / max(expected_s, 0.1), 1.0 - 0.2 / (1.0 + passed))
            yield {"doing": doing, "progress": after + share * done, "left_s": max(expected_s - passed, 0.5)}
            thread.join(0.25)
        if "error" in found:
            raise found["error"]
        return found["value"]

    def _titles(self) -> dict[str, str]:
        """Name of each instrument, in the middle of a line."""
        labels = {name: str(told["label"]) for name, told in cards.facts(self.studio.instruments()).items()}
        return {name: label[:1].lower() + label[1:] for name, label in labels.items()}

    def _learn(self, what: str, took_s: float, seconds: float) -> None:
        self._speeds[what] += 0.3 * (took_s / max(seconds, 1.0) - self._speeds[what])

    def _url(self, path: str) -> str:
        """Address of a file that was made here."""
        place = Path(path)
        return f"made/{place.parent.name}/{place.name}"

    def _playable(self, source: studio.Source) -> str | None:
        """A form of the recording that any browser plays, if its own is not one."""
        if Path(source.path).suffix.lower() in (".wav", ".mp3", ".flac", ".m4a"):
            return None
        return self._url(self.studio.save_sound(source.audio, studio.safe(Path(source.name).stem)))


def file_name(given: Any) -> str:
    """A file's name as a visitor has it, without what is no name."""
    name = re.sub(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", "", str(given)).replace("\\", "/").rpartition("/")[2].strip()
    return name[:200].lstrip("-") or "sound"


def moved_by(performance: studio.Performance) -> str:
    """Words for the transposition."""
    moved = performance.arrangement.transposed
    return f"moved by {moved:+g} semitones" if moved else "at its own pitch"


def as_data(path: str) -> str:
    """An MP3 file as an address that holds it."""
    return "data:audio/mpeg;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def courteous(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose refusals are shown in plain words, and whose failures are not shown at all but logged."""

    def explain(error: Exception) -> gr.Error:
        if isinstance(error, studio.Refusal):
            return gr.Error(html.escape(error.sentence), title="That did not work", print_exception=False)
        _log_error()
        return gr.Error("Something went wrong here, and not with you. Try again.", title="That did not work", print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*arguments: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from function(*arguments, **named)
            except Exception as error:
                raise explain(error) from None

        return generator

    @functools.wraps(function)
    def plain(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Exception as error:
            raise explain(error) from None

    return plain


async def _no_download(*_arguments: Any, **_named: Any) -> str:
    raise gr.Error("An address came; a file is wanted: download it first, and upload it here.", print_exception=False)


def _log_error() -> None:
    """The error at hand, as a line in the log."""
    error = sys.exc_info()[1]
    print(f"{type(error).__name__}: {str(error)[:160]!r}", file=sys.stderr, flush=True)


def build(page: Page) -> gr.Blocks:
    """The functions that the page and programs may call, in Gradio's queue."""
    networking.url_ok = lambda _url: True  # Gradio gives a busy computer three seconds to answer itself, and gives up
    processing_utils.async_ssrf_protected_download = _no_download  # a visitor must not make this computer fetch addresses
    for module in (queueing, routes):  # what a visitor sends is no fault of ours: a line, and not fifty
        module.traceback = SimpleNamespace(print_exc=_log_error, format_exc=traceback.format_exc)  # type: ignore[attr-defined]
    busy: dict[str, Any] = {"concurrency_limit": AT_ONCE, "concurrency_id": "work"}
    own: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "start": (page.start, {"concurrency_limit": None}),
        "preview": (page.preview, busy),
        "look": (page.look, busy),
        "play": (page.play, busy),
        "compare": (page.compare_for_page, busy),
        "analyze": (page.analyze_for_page, busy),
        "batch": (page.batch_for_page, busy),
    }
    with gr.Blocks(title="tonetransfer", analytics_enabled=False) as blocks:
        api.connect(gr, page, courteous, **busy)
        for name, (function, limits) in own.items():
            parameters = {} if name == "start" else {"given": dict}
            function = api.with_signature(courteous(function), parameters, dict)
            gr.api(function, api_name=f"page_{name}", api_visibility="undocumented", **limits)
    blocks.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING)
    return blocks


class FrontPage(Route):
    """The page at the root; Gradio's own page there, which lists the functions for programs, stays under ``/?view=api``."""

    def matches(self, scope: Any) -> Any:
        return (Match.NONE, {}) if b"view=api" in scope.get("query_string", b"") else super().matches(scope)


def page_routes(work: studio.Studio) -> list[Route]:
    """The page, its parts, the examples, and what was made for visitors."""
    player = resources.files("tonetransfer.evaluation.report").joinpath("ab_player.js").read_bytes()
    parts = {path.name: path.read_bytes() for path in HERE.iterdir() if path.suffix in PARTS} | {"ab_player.js": player}
    parts |= {f"{path.name}": path.read_bytes() for path in (HERE / "examples").iterdir() if path.suffix in (".mp3", ".json")}
    version = hashlib.sha256(b"".join(parts.values())).hexdigest()[:12]
    notice = f"Recordings and results are removed from here after {work.kept_s / 60.0:.3g} minutes; your browser keeps its own."
    text = (HERE / "page.html").read_text(encoding="utf-8").replace("{{notice}}", notice).replace("{{version}}", version)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'

    def front(request: Request) -> Response:
        same = request.headers.get("if-none-match") == tag
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": SECURITY}
        return Response("" if same else text, status_code=304 if same else 200, media_type="text/html", headers=headers)

    def part(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in parts:
            return Response("there is no such file", status_code=404)
        kind = mimetypes.guess_type(name)[0] if not name.endswith(".js") else "text/javascript"
        return Response(parts[name], media_type=kind, headers={"Cache-Control": "max-age=31536000, immutable"})

    def made(request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["name"]
        place = work.folder / "made" / token / name
        if not re.fullmatch(r"[0-9a-f]{32}", token) or not re.fullmatch(r"\w[\w.-]*", name) or not place.is_file():
            return Response("it is not here any more", status_code=404)
        return FileResponse(place, filename=name, headers={"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"})

    return [
        FrontPage("/", front, methods=["GET", "HEAD"]),
        Route("/page/{version}/{name}", part),
        Route("/made/{token}/{name}", made, methods=["GET", "HEAD"]),
    ]


def check_address(host: str, port: int | None) -> None:
    """Refuse, by an OSError, a host that this computer does not have, or a port in use: the server would try them again and again."""
    family, *_, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address, family=family):
        pass


def launch(
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    share: bool = False,
    weights: Path | None = None,
    kept_s: float = studio.KEPT_S,
    folder: Path | None = None,
) -> tuple[gr.Blocks, str, studio.Studio]:
    """Serve the page without waiting; gives the page, its address, and the studio, which is to be closed in the end."""
    host = host.removeprefix("[").removesuffix("]")
    check_address(host, port)
    work = studio.Studio(folder, kept_s=kept_s, weights=weights, apart=True)
    with ExitStack() as undone:
        undone.callback(work.close)
        os.environ["GRADIO_TEMP_DIR"] = str(work.folder)
        tempfile.tempdir = str(work.folder)  # uploads, too, are written nowhere else
        page = Page(work)
        blocks, names = build(page), gate.own_names(host)
        _, address, public = blocks.launch(
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            max_file_size=studio.LARGEST_BYTES,
            favicon_path=HERE / "favicon.svg",
            app_kwargs={"middleware": [Middleware(gate.Gate, names=names)], "routes": page_routes(work)},
        )
        names |= {gate.host_name(urlsplit(public).netloc)} if public else set()
        work.open(page.warm_up)
        undone.pop_all()
    return blocks, public or address, work


def serve(host: str = "127.0.0.1", port: int | None = None, *, tell: Callable[[str], Any] = print, **options: Any) -> None:
    """Serve the page until it is interrupted or asked to end; options as for :func:`launch`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # recordings are removed then, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    blocks, address, work = launch(host, port, **options)
    try:
        tell(address)
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)
        work.close()


if __name__ == "__main__":
    serve(os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
