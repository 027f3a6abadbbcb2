"""``live``: play on another instrument while you play."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError, SettingsError, ToneTransferWarning
from . import options
from .options import Report, table

if TYPE_CHECKING:
    from ..controls.profile import Target
    from ..models.timbre_model import TimbreModel


def add_live(verbs: Any) -> None:
    verb = options.add_verb(verbs, "live", "play on another instrument while you play: microphone or keyboard to loudspeaker", live)
    options.add_target(verb).add_argument("--list-devices", action="store_true", help="list sound devices and MIDI inputs, and exit")
    how = options.add_arrangement(verb)
    options.add_dynamic(how)
    where, listening = verb.add_argument_group("from where to where"), verb.add_argument_group("how it listens")
    where.add_argument("--input", dest="input_device", metavar="DEVICE", help="number or part of the name (default: the system's)")
    where.add_argument("--output", dest="output_device", metavar="DEVICE", help="the same, for what is played")
    where.add_argument(
        "--block", metavar="N", type=options.COUNT, default=240, help="samples at a time; 0: as the devices like (default: 240, 5 ms)"
    )
    where.add_argument("--seconds", metavar="S", type=options.SECONDS, help="play for so long (default: until Ctrl-C)")
    where.add_argument("--midi", metavar="FILE.mid|PORT", help="play from a MIDI file or keyboard instead of the microphone")
    where.add_argument("--simulate", metavar=("SOURCE", "OUTPUT"), type=Path, nargs=2, help="no devices: a recording, as if played live")
    how.add_argument("--no-fit", dest="fit", action="store_false", help="keep the player's octave, dynamics and sounds between notes")
    listening.add_argument(
        "--loudest", metavar="DB", type=options.LEVEL, help="A-weighted level of your loud notes (default: learned as you play)"
    )
    listening.add_argument(
        "--look-ahead",
        metavar="MS",
        type=options.NUMBER,
        default=10.0,
        help="heard before a note is judged: latency, sureness (default: 10)",
    )
    listening.add_argument(
        "--path-frames", metavar="N", type=options.COUNT, default=0, help="10 ms each that octaves are thought over; latency (default: 0)"
    )
    options.add_keys(verb)
    options.add_overwrite(verb)
    verb.set_defaults(tracker=None)


def live(arguments: Namespace) -> Report:
    from ..controls.dynamics import check_dynamic
    from ..realtime import devices as playing
    from .steps import check_files, open_target, tell

    if arguments.list_devices:
        return _devices()
    arguments.output = arguments.simulate[1] if arguments.simulate else None
    check_files(arguments, reads=(arguments.simulate or [])[:1])
    if arguments.midi and arguments.simulate:
        raise SettingsError("--simulate takes a recording; to hear a MIDI file offline use `tonetransfer play SCORE.mid OUTPUT`")
    if arguments.midi and arguments.dynamic:
        raise SettingsError("--dynamic is for what a microphone hears; notes of MIDI say by their velocity how hard they are: leave it out")
    check_dynamic(arguments.dynamic, fit=arguments.fit)
    model, target, name = open_target(arguments)
    if arguments.simulate:
        return _simulate(arguments, model, target, name)
    devices = playing.sound_devices()
    output_device = playing.find_device(devices, arguments.output_device, "output")
    common = {"output_device": output_device, "block_length": arguments.block, "seconds": arguments.seconds, "tick": _live_status()}
    if arguments.midi:
        report = _live_midi(arguments, model, target, devices, common)
    else:
        stream = _stream(arguments, model, target)
        input_device = playing.find_device(devices, arguments.input_device, "input")
        later_ms = 1e3 * stream.latency_samples / model.sample_rate
        tell(f"{name}: sound comes {later_ms:.0f} ms and the devices' own time later; Ctrl-C ends it")
        report = playing.play_live(stream, model.sample_rate, devices, input_device=input_device, **common)
    return _live_report(report.to_dict() | {"instrument": name})


def _devices() -> Report:
    """Sound devices and MIDI inputs."""
    from ..realtime.devices import list_devices, sound_devices
    from ..realtime.midi_playback import midi_ports

    found = list_devices(sound_devices())
    try:
        ports = midi_ports()
    except MissingDependencyError:
        ports = []
    rows: list[tuple[str, ...]] = [("number", "device", "inputs", "outputs", "Hz", "default")]
    for one in found:
        default = " ".join(kind for kind in ("input", "output") if one[f"default_{kind}"])
        numbers = (one["input_channels"], one["output_channels"], round(one["sample_rate_hz"]))
        rows.append((str(one["number"]), str(one["name"]), *map(str, numbers), default))
    return {"devices": found, "midi_inputs": ports}, table(rows) + [f"MIDI input: {port}" for port in ports]


def _stream(arguments: Namespace, model: TimbreModel, target: Target) -> Any:
    from ..realtime.stream import Stream, StreamSettings

    levels = {"loudness_db": arguments.loudness, "loudest_db": arguments.loudest}
    asked = {name: getattr(arguments, name) for name in ("path_frames", "transpose", "dynamic", "fit", "seed")}
    return Stream(model, target, StreamSettings(look_ahead_s=arguments.look_ahead / 1e3, **levels, **asked))


def _simulate(arguments: Namespace, model: TimbreModel, target: Target, name: str) -> Report:
    import torch

    from ..audio.files import AudioWriter, load_audio
    from ..realtime.devices import simulate

    audio, _ = load_audio(arguments.simulate[0], model.sample_rate)
    sound, report = simulate(_stream(arguments, model, target), audio.numpy(), arguments.block or 480)
    with AudioWriter(arguments.output, model.sample_rate, overwrite=arguments.overwrite) as writer:
        writer.write(torch.from_numpy(sound))
    if not sound.any():
        message = (
            f"no note is heard in {arguments.simulate[0]}, so {arguments.output} is silent; a voice or an instrument playing is wanted"
        )
        warnings.warn(message, ToneTransferWarning, stacklevel=2)
    return _live_report(report.to_dict() | {"instrument": name, "output": str(arguments.output)})


def _live_midi(arguments: Namespace, model: TimbreModel, target: Target, devices: Any, common: dict[str, Any]) -> Any:
    """Play a MIDI file or keyboard through the loudspeaker."""
    from ..realtime.devices import play_live
    from ..realtime.midi_files import ENDINGS, duration_s, read_score
    from ..realtime.midi_playback import TAIL_S, KeyedVoice, open_port

    if Path(arguments.midi).suffix.lower() in ENDINGS:
        parts = read_score(Path(arguments.midi))
        if len(parts) > 1:
            warnings.warn(f"{arguments.midi} has {len(parts)} voices; the highest notes are played", ToneTransferWarning, stacklevel=2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they were given
                parts = read_score(Path(arguments.midi), top=True)
        voice = KeyedVoice(model, target, key_settings(arguments, parts, target), events=parts[0].events, seed=arguments.seed)
        common["seconds"] = common["seconds"] or duration_s(parts) + TAIL_S
        return play_live(voice, model.sample_rate, devices, **common)
    voice = KeyedVoice(model, target, key_settings(arguments, (), target), seed=arguments.seed)
    port = open_port(arguments.midi, voice)
    try:
        return play_live(voice, model.sample_rate, devices, **common)
    finally:
        port.close()


def key_settings(arguments: Namespace, parts: Sequence[Any], target: Target) -> Any:
    from ..realtime.midi_controller import KeySettings
    from ..realtime.midi_playback import octave_of

    transpose = arguments.transpose
    if transpose == "auto":
        transpose = octave_of(parts, target) if parts else 0.0
    return KeySettings(
        attack_s=arguments.attack,
        decay_s=arguments.decay,
        sustain_db=arguments.sustain,
        release_db_per_s=arguments.release,
        velocity_curve=arguments.velocity_curve * arguments.dynamics,
        transpose=transpose,
        loudness_db=arguments.loudness,
    )


def _live_status() -> Callable[[Any], None]:
    """Tells of xruns when they come."""
    from .steps import tell

    told = 0

    def tick(report: Any) -> None:
        nonlocal told
        if report.xruns > told:
            told = report.xruns
            tell(f"{told} xruns: the devices had to wait; a larger --block helps")

    return tick


def _live_report(result: dict[str, Any]) -> Report:
    line = f"{result['seconds']:.1f} s of {result['instrument']}, {result['latency_ms']:.0f} ms later, {result['xruns']} xruns"
    line += f"; a block took {result['compute_median_ms']:.2f} ms, 99 % of them less than {result['compute_p99_ms']:.2f} ms"
    return result, [line]
