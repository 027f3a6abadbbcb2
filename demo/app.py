"""The page of ``tonetransfer demo``, and of a hosted Space: what stands where, and which function answers to what.

Everything that is heard or measured comes from the public API of ``tonetransfer``, by way of :mod:`studio`.
"""

from __future__ import annotations

import base64
import functools
import html
import inspect
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
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

HERE = Path(__file__).parent
FIRST, SECOND = "violin", "flute"
EXAMPLES = {"Hummed tune": "hum.mp3", "Whistled tune": "whistle.mp3", "Flute": "flute.mp3"}
NAMED, LIKE, BLEND = "An instrument", "Like a recording", "A blend of two"
ONE_EACH, FAMILY, ALL = "One of each kind", "One family", "All of them"
KINDS = (
    *("violin", "cello", "flute", "pan_flute", "oboe", "clarinet", "bassoon", "alto_sax", "tenor_sax", "trumpet", "horn", "trombone"),
    *("tuba", "harmonica", "accordion", "organ", "voice_aah", "acoustic_guitar"),
)
OCTAVES = ["Auto", "-3", "-2", "-1", "0", "+1", "+2", "+3"]
EFFORTS = ["estimated", "pp", "p", "mp", "mf", "f", "ff"]
TONICS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
SCALES = [
    *("chromatic", "major", "minor", "harmonic minor", "dorian", "phrygian", "lydian", "mixolydian"),
    *("major pentatonic", "minor pentatonic", "blues", "whole tone"),
]
AT_ONCE = 2  # jobs; the others queue
WAITING = 64
REMEMBERED = 8  # performances, until they are drawn
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

TITLE = (
    '<header class="tt-head"><h1>tone<em>transfer</em></h1><p>Hum, whistle or play a line, and hear it on another instrument.</p></header>'
)
EMPTY = (
    '<div class="tt-empty"><svg viewBox="0 0 120 60" aria-hidden="true">'
    '<path d="M4 30c8-30 14 30 22 0s14-22 20 0 12 18 18 0 10-14 16 0 10 10 14 0 8-6 12 0h10" fill="none" stroke="currentColor" '
    'stroke-width="2.5" stroke-linecap="round"/></svg>'
    "<p>Record or upload a melody, one note at a time.<br>What is heard in it will be drawn here.</p></div>"
)


class Page:
    """The functions behind the page, around one studio."""

    def __init__(self, work: studio.Studio) -> None:
        self.studio = work
        self._performances: OrderedDict[str, studio.Performance] = OrderedDict()
        self._lock = threading.Lock()

    # What the page shows when it opens

    def fill(self) -> tuple[Any, Any, Any]:
        """The cards of all instruments, the names for a blend, and the card that is chosen."""
        instruments = self.studio.instruments()
        ranges = {one.name: f"{studio.note_name(one.lowest_midi)} – {studio.note_name(one.highest_midi)}" for one in instruments}
        names = [(cards.label(one.name), one.name) for one in instruments]
        first = next((one.name for one in instruments if one.name == FIRST), instruments[0].name)
        other = next((one.name for one in instruments if one.name == SECOND), instruments[-1].name)
        return cards.picker(instruments, first, ranges), gr.update(choices=names, value=other), first

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
        """A copy of an example, inside the work folder."""
        return shutil.copy(HERE / "examples" / EXAMPLES[name], self.studio.new_folder())

    # Play

    def transfer(self, source: str | None, *choices: Any, progress: gr.Progress) -> Iterator[Any]:
        """Play a recording on an instrument."""
        player, settings, edits = read_choices(*choices)
        progress(0.05, desc="Listening to the recording")
        performance = None
        steps = self.studio.perform(source, player, settings, edits, progress=lambda share: progress(0.2 + 0.75 * share, desc="Playing"))
        for performance in steps:
            if performance is None:
                yield gr.skip()
        assert performance is not None
        files = self.studio.save(performance)
        controls = self.studio.save_controls(performance.source, edits)
        yield (files["wav"], files["wav"], files["flac"], controls, performance.command, told(performance), self._remember(performance))

    def draw(self, token: str) -> tuple[Any, Any]:
        """The pictures of the performance that was made last."""
        with self._lock:
            performance = self._performances.get(token)
        if performance is None:
            return gr.skip(), gr.skip()
        import tonetransfer as tt

        z = performance.target.z
        nearest = tt.nearest_timbres(self.studio.model, z.reshape(-1, z.shape[-1]).mean(0))
        points = {"Your recording": performance.source.z, "Result": z}
        scene = pictures.scene(performance.source, performance, studio.note_name)
        return pictures.roll(scene), pictures.timbre_map(self.studio.model, nearest, points)

    def look(self, source: str | None, tracker: str) -> tuple[Any, Any, Any]:
        """Analyse a new recording; its old edits are forgotten."""
        if not source:
            return EMPTY, "", ""
        heard = self.studio.analyze(source, tracker)
        return pictures.roll(pictures.scene(heard, None, studio.note_name)), "", message(heard.warnings)

    def _remember(self, performance: studio.Performance) -> str:
        token = os.urandom(16).hex()
        with self._lock:
            self._performances[token] = performance
            while len(self._performances) > REMEMBERED:
                self._performances.popitem(last=False)
        return token

    # Compare, analyze, batch

    def compare(
        self,
        source: str | None,
        which: str,
        player: studio.Player,
        settings: studio.Settings,
        edits: list[dict[str, Any]],
        *,
        progress: gr.Progress,
    ) -> Iterator[Any]:
        """The beginning of a recording on many instruments."""
        known = self.studio.instruments()
        if which == FAMILY:
            families = {one.family for one in known if one.name == player.instrument}
            chosen = [one for one in known if one.family in families]
        else:
            chosen = known if which == ALL else [one for name in KINDS for one in known if one.name == name]
        heard = self.studio.analyze(source, settings.tracker)
        cells = [
            {"name": "source", "title": "Your recording", "family": "voice", "sound": as_data(self.studio.clip(heard)), "note": heard.name}
        ]
        files: list[str] = []
        for number, one in enumerate(chosen):
            progress((number, len(chosen)), desc=cards.label(one.name))
            performance = self.studio.beginning(heard, studio.Player(one.name), settings, edits)
            path = self.studio.save(performance, ["mp3"])["mp3"]
            files.append(path)
            moved = performance.arrangement.transposed
            note = f"moved by {moved:+g} semitones" if moved else "at its own pitch"
            cells.append({"name": one.name, "title": cards.label(one.name), "family": one.family, "sound": as_data(path), "note": note})
            if number in (0, 3) or number % 8 == 7:
                yield cards.players(cells), None
        yield cards.players(cells), self.studio.zip(files, f"{studio.safe(Path(heard.name).stem)}_compared.zip")

    def analyze(self, source: str | None, tracker: str) -> tuple[str, str, str, dict[str, float]]:
        """Descriptors of a recording, what the classifier says second by second, and its timbre among the named ones."""
        import tonetransfer as tt

        heard = self.studio.analyze(source, tracker)
        with self.studio.plain_words():
            described = tt.describe_controls(heard.audio, heard.heard)
            prediction = tt.classify(heard.audio, self.studio.model.sample_rate)
            nearest = tt.nearest_timbres(self.studio.model, heard.z)
        place = pictures.timbre_map(self.studio.model, nearest, {"Your recording": heard.z})
        figures = {"instrument": prediction.label, **described}
        return pictures.classified(prediction), pictures.descriptors(described), place, figures

    def batch(self, sources: list[str] | None, player: studio.Player, settings: studio.Settings, *, progress: gr.Progress) -> Iterator[Any]:
        """Several recordings, with the same settings."""
        if not sources:
            raise studio.Refusal("there are no recordings yet; add some")
        if len(sources) > studio.MOST_FILES:
            raise studio.Refusal(f"{len(sources)} recordings came; {studio.MOST_FILES} at a time are taken: make several batches")
        rows: list[list[str]] = []
        files: list[str] = []
        for number, source in enumerate(sources):
            progress((number, len(sources)), desc=Path(source).name)
            try:
                for performance in self.studio.perform(source, player, settings):
                    if performance is None:
                        yield gr.skip()
                assert performance is not None
                files.append(self.studio.save(performance, ["wav"])["wav"])
                rows.append([Path(source).name, f"{len(performance.audio) / self.studio.model.sample_rate:.1f} s", performance.command])
            except studio.Refusal as refusal:
                rows.append([Path(source).name, "left out", str(refusal)])
            yield table(rows), None
        yield table(rows), (self.studio.zip(files, f"{studio.safe(player.stem)}.zip") if files else None)


def read_choices(*fields: Any) -> api.Wish:
    """The fields of the form, in their order, as who plays, how, and what is corrected.

    Raises
    ------
    Refusal
        A field holds what it cannot hold.
    """
    return api.read(**api.from_form(*fields))


def message(warnings: tuple[str, ...]) -> str:
    """Warnings as a note on the page."""
    return "".join(f'<p class="tt-note" role="status">{html.escape(text.capitalize())}</p>' for text in warnings)


def as_data(path: str) -> str:
    """An MP3 file as an address that holds it."""
    return "data:audio/mpeg;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def told(performance: studio.Performance) -> str:
    """Summary of a result in a line, and the warnings that came with it."""
    moved = performance.arrangement.transposed
    how = f"moved by {moved:+g} semitones" if moved else "at its own pitch"
    seconds = performance.arrangement.asked.n_frames / performance.arrangement.asked.grid.frame_rate
    who = html.escape(performance.player.name.capitalize())
    line = f'<p class="tt-done" role="status"><strong>{who}</strong> · {seconds:.1f} s · {how}</p>'
    return line + message(performance.warnings)


def table(rows: list[list[str]]) -> str:
    """Rows of a batch."""
    cells = "".join(
        f"<tr><th scope='row'>{html.escape(a)}</th><td>{html.escape(b)}</td><td><code>{html.escape(c)}</code></td></tr>" for a, b, c in rows
    )
    head = "<tr><th scope='col'>Recording</th><th scope='col'>Result</th><th scope='col'>The same on the command line</th></tr>"
    return f'<div class="tt-scroll"><table class="tt-table"><thead>{head}</thead><tbody>{cells}</tbody></table></div>'


def courteous(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose refusals are shown in plain words, and whose failures are not shown at all but logged."""

    def explain(error: Exception) -> gr.Error:
        if isinstance(error, studio.Refusal):
            text = str(error)
            return gr.Error(html.escape(text[:1].upper() + text[1:]) + ".", title="That did not work", print_exception=False)
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


def build(work: studio.Studio) -> gr.Blocks:
    """Lay out the page and connect it."""
    networking.url_ok = lambda _url: True  # Gradio gives a busy computer three seconds to answer itself, and gives up
    processing_utils.async_ssrf_protected_download = _no_download  # a visitor must not make this computer fetch addresses
    for module in (queueing, routes):  # what a visitor sends is no fault of ours: a line, and not fifty
        module.traceback = SimpleNamespace(print_exc=_log_error, format_exc=traceback.format_exc)  # type: ignore[attr-defined]
    page = Page(work)
    with gr.Blocks(title="tonetransfer", analytics_enabled=False, fill_width=True) as blocks:
        api.connect(gr, page, courteous, concurrency_limit=AT_ONCE, concurrency_id="work")  # before others take these names
        gr.HTML(TITLE)
        token = gr.State("")
        edits = gr.Textbox("", visible="hidden", elem_id="tt-edits", label="Edits, as JSON")
        with gr.Row(elem_classes="tt-main"):
            with gr.Column(scale=5, min_width=320, elem_classes="tt-left"):
                source, choices = _left(blocks, page, edits)
            with gr.Column(scale=7, min_width=320, elem_classes="tt-right"):
                _right(page, source, choices, edits, token)
        gr.HTML(f'<footer class="tt-foot">Recordings and results are removed after {work.kept_s / 60.0:.3g} minutes.</footer>')
    blocks.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING)
    return blocks


def _left(blocks: gr.Blocks, page: Page, edits: gr.Textbox) -> tuple[gr.Audio, list[Any]]:
    """Inputs of the page: the recording, who plays, and how. Returns the source, and all choices in the order of `read_choices`."""
    gr.HTML('<h2 class="tt-step-title"><b>1</b> Your recording</h2>')
    source = gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label="Source: one voice or instrument, one note at a time",
        elem_id="tt-source",
        show_label=False,
        buttons=["download"],
        waveform_options=gr.WaveformOptions(waveform_color="#8fb3b0", waveform_progress_color="#1f6f6b"),
    )
    with gr.Row(elem_classes="tt-examples"):
        gr.HTML('<span class="tt-or">or try</span>')
        for name in EXAMPLES:
            button = gr.Button(name, size="sm", elem_classes="tt-pill")
            button.click(functools.partial(courteous(page.example), name), outputs=source, api_visibility="private", show_progress="hidden")
    gr.HTML('<h2 class="tt-step-title"><b>2</b> Who plays it</h2>')
    how = gr.Radio([NAMED, LIKE, BLEND], value=NAMED, label="Who plays", show_label=False, elem_id="tt-how", elem_classes="tt-segments")
    instrument = gr.Textbox(FIRST, visible="hidden", elem_id="tt-instrument", label="Instrument")
    with gr.Column(visible=False, elem_classes="tt-blend") as blend:
        second = gr.Dropdown(
            [SECOND], value=SECOND, label="Blended with", info="The first of the two is chosen below.", allow_custom_value=True
        )
        share = gr.Slider(0, 1, 0.5, step=0.01, label="Share of the second", info="0 is the first alone, 1 the second alone.")
    with gr.Column(visible=False) as like:
        reference = gr.Audio(
            sources=["upload", "microphone"],
            type="filepath",
            label="Sound like this: a few seconds of any instrument",
            elem_id="tt-reference",
            buttons=[],
        )
    picker = gr.HTML('<div class="tt-picker tt-loading" role="status">The instruments are being tuned …</div>', elem_id="tt-picker")
    how.change(
        lambda chosen: (gr.update(visible=chosen == BLEND), gr.update(visible=chosen == LIKE), gr.update(visible=chosen != LIKE)),
        inputs=how,
        outputs=[blend, like, picker],
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )
    with gr.Accordion("Fine-tune", open=False, elem_classes="tt-fine"):
        choices = _controls()
    blocks.load(
        courteous(page.fill), outputs=[picker, second, instrument], api_visibility="private", show_progress="hidden", concurrency_limit=None
    )
    return source, [how, instrument, reference, second, share, *choices, edits]


def _controls() -> list[Any]:
    with gr.Row():
        octaves = gr.Dropdown(OCTAVES, value="Auto", label="Octave", info="Auto moves what is out of reach.", min_width=130)
        semitones = gr.Slider(-12, 12, 0, step=1, label="Semitones", info="Added to the octave.", min_width=150)
    with gr.Row():
        fit = gr.Checkbox(True, label="Adapt to the instrument", info="Its octave, its dynamics, silence between notes.", min_width=150)
        tracker = gr.Dropdown(
            list(studio.TRACKERS), value="joint", label="Pitch tracker", info="If notes are misheard, try another.", min_width=150
        )
    with gr.Row():
        autotune = gr.Slider(0, 1, 0, step=0.05, label="Autotune", info="0 leaves your tuning, 1 puts every note in tune.", min_width=150)
    with gr.Row():
        tonic = gr.Dropdown(TONICS, value="C", label="Key", info="Of the scale.", min_width=90)
        scale = gr.Dropdown(SCALES, value="chromatic", label="Scale", info="The notes that autotune pulls to.", min_width=130)
    with gr.Row():
        loudness = gr.Slider(
            -24, 24, 0, step=1, label="Loudness, dB", info="Asks the player for more or less, which changes the tone.", min_width=150
        )
        effort = gr.Dropdown(
            EFFORTS, value=EFFORTS[0], label="Effort", info="How hard it is played: the tone changes, not the level.", min_width=150
        )
    with gr.Row():
        dynamics = gr.Slider(0, 2, 1, step=0.05, label="Dynamics", info="0 plays evenly, 1 follows you, 2 exaggerates.", min_width=150)
        noise = gr.Slider(-60, 24, 0, step=1, label="Breath, dB", info="Noise of breath or bow in the sound.", min_width=150)
    with gr.Row():
        room = gr.Slider(0, 1, 0, step=0.05, label="Room", info="0 is dry, 1 far back in a hall.", min_width=150)
    return [octaves, semitones, loudness, effort, autotune, tonic, scale, dynamics, noise, room, fit, tracker]


def _right(page: Page, source: gr.Audio, choices: list[Any], edits: gr.Textbox, token: gr.State) -> None:
    """Outputs of the page."""
    tracker = choices[-2]
    work: dict[str, Any] = {"concurrency_limit": AT_ONCE, "concurrency_id": "work"}
    with gr.Tabs(elem_classes="tt-tabs"):
        with gr.Tab("Play", id="play"):
            with gr.Row(elem_classes="tt-go"):
                go = gr.Button("Play it", variant="primary", size="lg", elem_id="tt-go", scale=4)
                stop = gr.Button("Stop", variant="secondary", size="lg", elem_id="tt-stop", scale=1, min_width=90)
            result = gr.Audio(
                label="Result",
                type="filepath",
                interactive=False,
                elem_id="tt-result",
                buttons=[],
                waveform_options=gr.WaveformOptions(waveform_color="#dfa48c", waveform_progress_color="#c2512f"),
            )
            said = gr.HTML("", elem_id="tt-said")
            with gr.Row(elem_classes="tt-downloads"):
                wav = gr.DownloadButton("WAV", size="sm", elem_id="tt-wav", elem_classes="tt-pill")
                flac = gr.DownloadButton("FLAC", size="sm", elem_id="tt-flac", elem_classes="tt-pill")
                controls = gr.DownloadButton("Controls", size="sm", elem_id="tt-controls", elem_classes="tt-pill")
            roll = gr.HTML(EMPTY, elem_id="tt-roll")
            place = gr.HTML("", elem_id="tt-map")
            command = gr.Textbox(
                "",
                label="The same sound on the command line",
                placeholder="Appears with the result",
                interactive=False,
                buttons=["copy"],
                lines=2,
                elem_id="tt-command",
            )
        with gr.Tab("Compare", id="compare"):
            gr.HTML(f'<p class="tt-lead">The first {studio.COMPARED_S:g} seconds of your recording, on many instruments at once.</p>')
            with gr.Row(elem_classes="tt-go"):
                which = gr.Radio(
                    [ONE_EACH, FAMILY, ALL], value=ONE_EACH, label="Instruments", show_label=False, elem_classes="tt-segments", scale=3
                )
                compare = gr.Button("Compare", variant="primary", elem_id="tt-compare-go", scale=2, min_width=120)
                halt = gr.Button("Stop", variant="secondary", scale=1, min_width=80)
            grid = gr.HTML('<div class="tt-empty"><p>Every instrument gets a player of its own here.</p></div>', elem_id="tt-compare")
            with gr.Row(elem_classes="tt-downloads"):
                archive = gr.DownloadButton("All of them, as MP3", size="sm", elem_id="tt-compare-zip", elem_classes="tt-pill")
        with gr.Tab("Analyze", id="analyze"):
            gr.HTML('<p class="tt-lead">What your recording is like: tone, articulation, and which instrument it sounds like.</p>')
            with gr.Row(elem_classes="tt-go"):
                measure = gr.Button("Analyze", variant="primary", elem_id="tt-analyze-go")
            classes = gr.HTML("", elem_id="tt-classes")
            described = gr.HTML("", elem_id="tt-descriptors")
            where = gr.HTML("", elem_id="tt-where")
            figures = gr.JSON(visible=False, label="Descriptors")
        with gr.Tab("Batch", id="batch"):
            gr.HTML(
                f'<p class="tt-lead">Up to {studio.MOST_FILES} recordings, with the instrument and the settings chosen on the left.</p>'
            )
            files = gr.File(file_count="multiple", label="Recordings", type="filepath", elem_id="tt-files", height=160)
            with gr.Row(elem_classes="tt-go"):
                many = gr.Button("Play them all", variant="primary", elem_id="tt-batch-go", scale=4)
                end = gr.Button("Stop", variant="secondary", scale=1, min_width=90)
            rows = gr.HTML("", elem_id="tt-batch")
            with gr.Row(elem_classes="tt-downloads"):
                pack = gr.DownloadButton("All results, as WAV", size="sm", elem_id="tt-batch-zip", elem_classes="tt-pill")

    def transfer(*given: Any, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008  # how Gradio is told
        yield from page.transfer(*given, progress=progress)

    def compare_all(source: Any, which: Any, *given: Any, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        yield from page.compare(source, which, *read_choices(*given), progress=progress)

    def batch(sources: Any, *given: Any, progress: gr.Progress = gr.Progress()) -> Iterator[Any]:  # noqa: B008
        yield from page.batch(sources, *read_choices(*given)[:2], progress=progress)

    playing = go.click(
        courteous(transfer),
        inputs=[source, *choices],
        outputs=[result, wav, flac, controls, command, said, token],
        api_visibility="private",
        show_progress_on=[result],
        **work,
    )
    drawing = playing.success(
        courteous(page.draw), inputs=token, outputs=[roll, place], api_visibility="private", show_progress="hidden", **work
    )
    stop.click(None, cancels=[playing, drawing], api_visibility="private")
    gr.on(
        triggers=[source.change, tracker.change],
        fn=courteous(page.look),
        inputs=[source, tracker],
        outputs=[roll, edits, said],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[roll],
        trigger_mode="always_last",
        **work,
    )
    comparing = compare.click(
        courteous(compare_all),
        inputs=[source, which, *choices],
        outputs=[grid, archive],
        api_visibility="private",
        show_progress_on=[grid],
        **work,
    )
    halt.click(None, cancels=[comparing], api_visibility="private")
    measure.click(
        courteous(page.analyze),
        inputs=[source, tracker],
        outputs=[classes, described, where, figures],
        api_visibility="private",
        show_progress_on=[classes],
        **work,
    )
    doing = many.click(
        courteous(batch),
        inputs=[files, *choices],
        outputs=[rows, pack],
        api_visibility="private",
        show_progress_on=[rows],
        **work,
    )
    end.click(None, cancels=[doing], api_visibility="private")


def theme() -> gr.themes.Base:
    """Colours and type; the rest stands in page.css."""
    ember = gr.themes.Color(
        "#fdf3ef", "#fae3da", "#f4c4b2", "#eba084", "#de7a55", "#c2512f", "#a94425", "#8a371f", "#6e2e1c", "#592719", "#33140c"
    )
    paper = gr.themes.Color(
        "#faf8f5", "#f3f0ea", "#e7e2d9", "#d3ccc0", "#a8a196", "#7c766d", "#5c5750", "#45413c", "#2c2a27", "#1d1c1b", "#131312"
    )
    return gr.themes.Base(
        primary_hue=ember, neutral_hue=paper, radius_size=gr.themes.sizes.radius_lg, font=list(SANS), font_mono=list(MONO)
    ).set(
        body_background_fill="#faf8f5",
        body_background_fill_dark="#161615",
        background_fill_primary_dark="#1f1e1d",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1f1e1d",
        block_border_width="1px",
        block_border_color="#e7e2d9",
        block_border_color_dark="#383633",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        button_primary_background_fill="#b94a29",
        button_primary_background_fill_hover="#a03e20",
        button_primary_background_fill_dark="#c2512f",
        button_primary_text_color="#ffffff",
        slider_color="#b94a29",
        slider_color_dark="#de7a55",
    )


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
    work = studio.Studio(folder, kept_s=kept_s, weights=weights)
    os.environ["GRADIO_TEMP_DIR"] = str(work.folder)
    tempfile.tempdir = str(work.folder)  # uploads, too, are written nowhere else
    blocks, names = build(work), gate.own_names(host)
    _, address, public = blocks.launch(
        server_name=host,
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
        theme=theme(),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        app_kwargs={"middleware": [Middleware(gate.Gate, names=names)]},
    )
    names |= {gate.host_name(urlsplit(public).netloc)} if public else set()
    work.open()
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
