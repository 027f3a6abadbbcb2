"""Pictures and sound of a report, as text that stands in the page: sound as MP3, spectrograms as PNG, contours as SVG paths.

Pictures are written directly, a palette and a byte a pixel: a plotting library would need a second for each.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from ...analysis.plot_panels import RANGE_DB, log_spectrogram
from ...audio.files import encode_mp3

LOWEST_HZ = 60.0
N_COLUMNS = 460
N_SHADES = 48  # more cannot be told apart, and compress worse
INFERNAL = (  # dark to bright with even steps of lightness
    (8, 6, 18),
    (38, 18, 78),
    (88, 26, 110),
    (136, 40, 107),
    (186, 58, 88),
    (226, 92, 58),
    (248, 146, 42),
    (250, 204, 92),
    (254, 250, 214),
)


def audio_uri(audio: torch.Tensor, sample_rate: int) -> str:
    """Sound (n_samples,) as a data URI."""
    return _uri("audio/mpeg", encode_mp3(audio, sample_rate))


def spectrogram_uri(audio: torch.Tensor, sample_rate: int, seconds: float, top_db: float) -> str:
    """Spectrogram as a data URI, octaves equally high from 60 Hz to Nyquist.

    Parameters
    ----------
    audio : Tensor [shape=(n_samples,)]
    sample_rate : int [Hz]
    seconds : float
        That the picture spans; beyond the sound it is dark.
    top_db : float [dB re a full-scale sine]
        Brightest colour; 80 dB below it is darkest.
    """
    return _uri("image/png", _png(_shades(_levels(audio, sample_rate, seconds), top_db)))


def top_level_db(audio: torch.Tensor, sample_rate: int) -> float:
    """The highest level in a spectrogram [dB re a full-scale sine], at least -60."""
    return max(float(_levels(audio, sample_rate, len(audio) / sample_rate).max()), -60.0)


def frequency_marks(sample_rate: int) -> list[tuple[str, float]]:
    """Names of round frequencies and their height in a spectrogram, 0 at the bottom and 1 at the top."""
    octaves = np.log2(sample_rate / 2.0 / LOWEST_HZ)
    marks = ((100, "100 Hz"), (1000, "1 kHz"), (10000, "10 kHz"))
    return [(name, float(np.log2(hertz / LOWEST_HZ) / octaves)) for hertz, name in marks if hertz < sample_rate / 2.0]


def contour_path(values: np.ndarray, lowest: float, highest: float, n_frames: int) -> str:
    """A line as SVG path data in a box of 1000 x 100, broken where values (n,) are NaN; `n_frames` fill its width."""
    x = np.arange(len(values)) / max(n_frames - 1, 1) * 1000.0
    y = 100.0 * (1.0 - (np.clip(values, lowest, highest) - lowest) / max(highest - lowest, 1e-9))
    known = np.isfinite(values)
    keep = known & _bends(y, known)
    parts, pen_down = [], False
    for k in np.flatnonzero(keep | ~known):
        if known[k]:
            parts.append(f"{'L' if pen_down else 'M'}{x[k]:.1f} {y[k]:.1f}")
        pen_down = bool(known[k])
    return "".join(parts)


def _bends(y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Every other frame, and the ends of lines: at 100 frames a second, no picture shows more."""
    keep = np.arange(len(y)) % 2 == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    keep[np.minimum(edges - (np.arange(len(edges)) % 2), len(y) - 1)] = True
    return keep


def _levels(audio: torch.Tensor, sample_rate: int, seconds: float) -> np.ndarray:
    """(n_rows, n_columns) [dB], low frequencies first; of two neighbouring rows the stronger."""
    hop_length = max(1, round(seconds * sample_rate / N_COLUMNS))
    _, level_db = log_spectrogram(audio.numpy(), sample_rate, hop_length, LOWEST_HZ)
    level_db = level_db[: len(level_db) // 2 * 2].reshape(-1, 2, level_db.shape[1]).max(axis=1)[:, :N_COLUMNS]
    return np.pad(level_db, ((0, 0), (0, N_COLUMNS - level_db.shape[1])), constant_values=-140.0)


def _shades(level_db: np.ndarray, top_db: float) -> np.ndarray:
    share = np.clip((level_db - top_db + RANGE_DB) / RANGE_DB, 0.0, 1.0)
    return np.round(share * (N_SHADES - 1)).astype(np.uint8)[::-1]


def _png(pixels: np.ndarray) -> bytes:
    """Pixels (height, width), numbers of colours, as a PNG file."""
    height, width = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)  # filter 0 in front of each
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _palette()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _palette() -> bytes:
    stops, place = np.array(INFERNAL, np.float64), np.linspace(0.0, len(INFERNAL) - 1.0, N_SHADES)
    columns: Sequence[np.ndarray] = [np.interp(place, np.arange(len(stops)), stops[:, k]) for k in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8).tobytes()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
