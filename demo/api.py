"""Endpoints of the page for programs, whose parameters have names, however the page is laid out."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

try:
    from . import cards, studio
except ImportError:  # run as a script, as a hosted Space does
    import cards  # type: ignore[no-redef]
    import studio  # type: ignore[no-redef]

CHOICES: dict[str, Any] = {  # None, for each: as `studio.Settings` has it
    "to": str | None,
    "like": dict | None,
    "mix": dict | None,
    "octave": int | str | None,
    "semitones": float | None,
    "loudness_db": float | None,
    "dynamic": str | float | None,
    "autotune": float | None,
    "scale": str | None,
    "dynamics": float | None,
    "noise_db": float | None,
    "hall": float | None,
    "fit": bool | None,
    "tracker": str | None,
    "edits": list | None,
    "match": dict | None,
}
NAMED, LIKE, BLEND = "An instrument", "Like a recording", "A blend of two"  # how the order of 0.2 begins
OLD_ORDER = {
    **{"how": NAMED, "instrument": "violin", "reference": None, "second": "flute", "share": 0.5, "octaves": "Auto", "semitones": 0},
    **{"loudness": 0, "effort": "estimated", "autotune": 0, "tonic": "C", "scale": "chromatic", "dynamics": 1, "noise": 0, "room": 0},
    **{"fit": True, "tracker": "joint", "edits": ""},
}
PARAMETERS = CHOICES | {f"old_{number}": Any for number in range(len(CHOICES) + 1, len(OLD_ORDER) + 1)}  # room for the order of 0.2

Wish = tuple[studio.Player, studio.Settings, list[dict[str, Any]]]


def connect(gr: Any, page: Any, courteous: Callable[..., Any], **work: Any) -> None:
    """Offer the functions of a page to programs; within its `gr.Blocks`."""

    def transfer(source: Any, *given: Any) -> Iterator[Any]:
        player, settings, edits = understood(given)
        progress, made = gr.Progress(), None
        for made in page.studio.perform(path_of(source), player, settings, edits, progress=lambda share: progress(share, desc="Playing")):
            if made is None:
                yield (None,) * 6  # so that one can stop in between
        assert made is not None
        files = page.studio.save(made)
        wav, flac, controls = map(file_data, (files["wav"], files["flac"], page.studio.save_controls(made.source, edits)))
        yield wav, wav, flac, controls, made.command, summary(made)

    def compare(source: Any, which: Any, *given: Any) -> Iterator[Any]:
        player, settings, edits = understood(given)
        progress, cells = gr.Progress(), []
        for step in page.compare(page.studio.analyze(path_of(source), settings.tracker), which, player, settings, edits):
            progress(step.get("progress", 0.0), desc=step.get("doing"))
            cells += [step["cell"]] if "cell" in step else []
            if len(cells) % 8 == 4 or "archive" in step:
                yield cards.players(cells), file_data(step.get("archive"))

    def batch(sources: Any, *given: Any) -> Iterator[Any]:
        if not isinstance(sources, list):
            raise studio.Refusal("a list of recordings is wanted")
        progress, rows = gr.Progress(), []
        for step in page.batch([path_of(one) for one in sources], *understood(given)[:2]):
            progress(step.get("progress", 0.0), desc=step.get("doing"))
            rows += [step["row"]] if "row" in step else []
            yield cards.table(rows), file_data(step.get("archive"))

    def analyze(source: Any, tracker: Any) -> Any:
        return page.analyze(page.studio.analyze(path_of(source), tracker or studio.Settings.tracker))

    def offer(function: Callable[..., Any], returns: Any, text: str, **parameters: Any) -> None:
        gr.api(courteous(with_signature(function, parameters, returns)), api_name=function.__name__, api_description=text, **work)

    sound, file = dict, dict | None
    told = tuple[sound, sound, sound, sound, str, str]
    offer(transfer, told, "Play a recording. Returns the sound, WAV, FLAC, controls, command line, note.", source=sound, **PARAMETERS)
    text = "The beginning of a recording on many instruments. Returns HTML with players, and a ZIP archive of MP3 files."
    offer(compare, tuple[str, file], text, source=sound, which=str | None, **PARAMETERS)
    text = "Play several recordings with the same settings. Returns HTML with a line for each, and a ZIP archive of WAV files."
    offer(batch, tuple[str, file], text, sources=list, **PARAMETERS)
    text = "Measure a recording. The last of what is returned holds the figures."
    offer(analyze, tuple[str, str, str, dict], text, source=sound, tracker=str | None)
    gr.api(courteous(page.instruments), api_name="instruments", api_description="Names, families and ranges of all instruments.")


def with_signature(function: Callable[..., Any], parameters: dict[str, Any], returns: Any) -> Callable[..., Any]:
    """Give a function the signature that Gradio tells to programs; what may be None may be left out."""
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD

    def described(name: str, kind: Any) -> inspect.Parameter:
        optional = kind is Any or type(None) in getattr(kind, "__args__", ())
        return inspect.Parameter(name, place, annotation=kind, default=None if optional else inspect.Parameter.empty)

    signature = inspect.Signature([described(*one) for one in parameters.items()], return_annotation=returns)
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = parameters | {"return": returns}
    return function


def understood(given: Sequence[Any]) -> Wish:
    """Parameters in the order of `CHOICES`, or in that of version 0.2, as who plays, how, and what is corrected."""
    if given and given[0] in (NAMED, LIKE, BLEND):
        values = [standard if value is None else value for value, standard in zip(given, OLD_ORDER.values(), strict=False)]
        return read(**from_form(*values))
    return read(**dict(zip(CHOICES, given, strict=False)))


def from_form(
    how: str,
    instrument: Any,
    reference: Any,
    second: Any,
    share: Any,
    octaves: Any,
    semitones: Any,
    loudness: Any,
    effort: Any,
    autotune: Any,
    tonic: Any,
    scale: Any,
    dynamics: Any,
    noise: Any,
    room: Any,
    fit: Any,
    tracker: Any,
    edits: Any,
) -> dict[str, Any]:
    """Fields of the form as the parameters that :func:`read` takes."""
    who: dict[str, Any] = {"to": str(instrument or "")}
    if how == LIKE:
        if not reference:
            raise studio.Refusal("there is no reference yet; record or upload a few seconds of the instrument")
        who = {"like": reference}
    elif how == BLEND and instrument != second:
        part = number("the share", share, 0, 1)
        who = {"mix": {str(instrument or ""): 1.0 - part, str(second or ""): part}}
    return who | {
        "octave": octaves,
        "semitones": semitones,
        "loudness_db": loudness,
        "dynamic": effort if fit and effort != "estimated" else None,
        "autotune": autotune,
        "scale": "chromatic" if scale == "chromatic" else f"{tonic} {scale}",
        "dynamics": dynamics,
        "noise_db": noise,
        "hall": room,
        "fit": fit,
        "tracker": tracker,
        "edits": edits,
    }


def read(
    *,
    to: Any = None,
    like: Any = None,
    mix: Any = None,
    octave: Any = None,
    semitones: Any = None,
    loudness_db: Any = None,
    dynamic: Any = None,
    autotune: Any = None,
    scale: Any = None,
    dynamics: Any = None,
    noise_db: Any = None,
    hall: Any = None,
    fit: Any = None,
    tracker: Any = None,
    edits: Any = None,
    match: Any = None,
) -> Wish:
    """Read a request: player, settings and corrections; None is the standard.

    Raises
    ------
    Refusal
        A parameter holds what it cannot hold.
    """
    standard = studio.Settings()
    octaves = None if octave in (None, "", "auto", "Auto") else number("the octave", octave, -3, 3)
    if octaves is not None and octaves % 1:
        raise studio.Refusal(f"the octave is {octave}; a whole number is wanted, and the rest in semitones")
    settings = studio.Settings(
        octaves=None if octaves is None else int(octaves),
        semitones=number("semitones", semitones or 0, -12, 12),
        loudness_db=number("the loudness", loudness_db or 0, -24, 24),
        dynamic=dynamic if dynamic is None or isinstance(dynamic, str) else number("the dynamic", dynamic, -36, 0),
        autotune=number("autotune", autotune or 0, 0, 1),
        scale=str(scale or standard.scale),
        dynamics=number("the dynamics", standard.dynamics if dynamics is None else dynamics, 0, 2),
        noise_db=number("the noise", noise_db or 0, -60, 24),
        room=number("the room", hall or 0, 0, 1),
        fit=standard.fit if fit is None else bool(fit),
        tracker=str(tracker or standard.tracker),
    )
    return _player(to, like, mix, match), settings, _edits(edits)


def _player(to: Any, like: Any, mix: Any, match: Any) -> studio.Player:
    if sum(one not in (None, "") for one in (to, like, mix)) > 1:
        raise studio.Refusal("several are to play; give one of to, like and mix")
    reference = path_of(match, "the reference")
    if reference and to in (None, "") and mix in (None, ""):
        raise studio.Refusal("match is a recording whose colour a named instrument takes; give to or mix as well, or like alone")
    if like not in (None, ""):
        return studio.Player(reference=path_of(like, "the reference"))
    if mix in (None, ""):
        return studio.Player(str(to or ""), reference)
    if not isinstance(mix, dict) or len(mix) != 2:
        raise studio.Refusal('two instruments are blended; as in {"violin": 0.7, "flute": 0.3}')
    (first, share), (second, other) = ((str(name), number(f"the share of {name}", value, 0, 1000)) for name, value in mix.items())
    if not share + other:
        raise studio.Refusal("both shares of the blend are 0; one above 0 is wanted")
    return studio.Player(first, reference, second, share=other / (share + other))


def _edits(edits: Any) -> list[dict[str, Any]]:
    try:
        changes = json.loads(edits) if isinstance(edits, str) and edits else edits or []
    except (ValueError, RecursionError):
        changes = None
    if not isinstance(changes, list) or len(changes) > 500 or not all(isinstance(one, dict) for one in changes):
        raise studio.Refusal("the edits cannot be understood; a list of up to 500 edits, as JSON, is wanted")
    return changes


def number(what: str, value: Any, lowest: float, highest: float) -> float:
    """A number that came from outside, or a refusal."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not lowest <= found <= highest:
        raise studio.Refusal(f"{what} is {value}; a number from {lowest:g} to {highest:g} is wanted")
    return found


def path_of(given: Any, what: str = "the recording") -> str | None:
    """Path of a file that a program uploaded."""
    path = given.get("path") if isinstance(given, dict) else given
    if path in (None, ""):
        return None
    if not isinstance(path, str) or "\0" in path:
        raise studio.Refusal(f"{what} is no file; give handle_file(...) of gradio_client, or what /upload returned")
    return path


def file_data(path: str | None) -> dict[str, Any] | None:
    """A file as Gradio sends it."""
    return {"path": path, "orig_name": os.path.basename(path), "meta": {"_type": "gradio.FileData"}} if path else None


def summary(performance: studio.Performance) -> str:
    """Sentence on a performance: player, length, transposition, and the warnings."""
    moved = performance.arrangement.transposed
    seconds = performance.arrangement.asked.n_frames / performance.arrangement.asked.grid.frame_rate
    how = f"moved by {moved:+g} semitones" if moved else "at its own pitch"
    return ". ".join([f"{performance.player.name.capitalize()}, {seconds:.1f} s, {how}", *performance.warnings])
