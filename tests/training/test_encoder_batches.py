"""Encoder batches are groups of one timbre, changed alike, and labelled with what is played."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import tone

from tonetransfer.audio.files import save_audio
from tonetransfer.audio.frames import FrameGrid
from tonetransfer.models.encoder import N_MELS, TimbreEncoder, mel_centres_hz
from tonetransfer.training.batches import Corpus
from tonetransfer.training.encoder_batches import GROUP, EncoderBatches, HeardCorpus, hear_corpus, kinds_of
from tonetransfer.training.settings import DataSettings

GRID = FrameGrid()
NAMES = ("violin", "violin@R", "violin_old", "flute", "oboe")
F0_HZ = (330.0, 440.0, 550.0, 660.0)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> HeardCorpus:
    """Four performances of one note each, of 5 s, on five timbres that differ in their number of harmonics."""
    root, files = tmp_path_factory.mktemp("corpus"), []
    for i, name in enumerate(NAMES):
        (root / name).mkdir()
        for j, f0_hz in enumerate(F0_HZ):
            sound = tone(f0_hz, 5.0, n_harmonics=2 + 5 * i, level=0.1 + 0.05 * j)
            save_audio(root / name / f"p{j}.flac", sound, GRID.sample_rate)
            n_frames = GRID.n_frames(len(sound))
            np.savez(root / name / f"p{j}.npz", f0_hz=np.full(n_frames, f0_hz, np.float32), voiced=np.ones(n_frames, bool))
            files.append({"timbre": name, "performance": f"p{j}"})
    facts = {"family": "test", "named": True, "lowest_midi": 60, "highest_midi": 76, "source": "tones", "licence": "CC0-1.0"}
    (root / "manifest.json").write_text(json.dumps({"seed": 0, "timbres": {n: {"name": n, **facts} for n in NAMES}, "files": files}))
    return hear_corpus(Corpus(root, GRID), TimbreEncoder(48000, 480, 8, 16))


def batch_of(heard: HeardCorpus, seed: int = 0, others: tuple[HeardCorpus, ...] = (), **settings: float) -> dict[str, torch.Tensor]:
    chosen = DataSettings(heard_seconds=90.0, validation_performances=0, **settings)  # type: ignore[arg-type]  # shares
    return next(iter(EncoderBatches([heard, *others], chosen, seed=seed)))


def test_spectrograms_are_those_of_the_recordings_and_are_kept(heard: HeardCorpus) -> None:
    recording = heard.corpus.recordings[5]
    sound = heard.corpus.sound(recording.first * GRID.hop_length, recording.n_frames * GRID.hop_length)
    expected = TimbreEncoder(48000, 480, 8, 16).mel_db(sound[None])[0].T.numpy()
    stored = heard.mel_db[heard.first[5] : heard.first[5] + 250]
    assert np.abs(stored - expected[:250]).max() < 0.1
    before = heard.corpus.pack.glob("mel*").__next__().stat().st_mtime_ns
    hear_corpus(heard.corpus, TimbreEncoder(48000, 480, 8, 16))
    assert heard.corpus.pack.glob("mel*").__next__().stat().st_mtime_ns == before


def test_batches_hold_what_they_claim(heard: HeardCorpus) -> None:
    batch = batch_of(heard, capture_share=0.0)
    n = len(batch["mel"])
    assert n % GROUP == 0 and batch["mel"].shape[1] == N_MELS and batch["mel"].shape[2] in (100, 150, 200)
    assert batch["played"].shape == (n, 2) and batch["mel"].dtype == batch["played"].dtype == torch.float32
    assert float(batch["mel"].max()) <= 1.0 and float(batch["mel"].min()) >= -1.0
    for key in ("timbre", "kind", "original", "group"):
        assert bool((batch[key].view(-1, GROUP) == batch[key].view(-1, GROUP)[:, :1]).all())
    assert set(batch["original"].view(-1, GROUP)[:, 0].tolist()) == {True, False}
    centres = torch.from_numpy(mel_centres_hz(48000))
    known = {round(12 * np.log2(f0 / 440) + 69, 1) for f0 in F0_HZ}
    for mel, (octaves, _), original in zip(batch["mel"], batch["played"].tolist(), batch["original"].tolist(), strict=True):
        assert round(12 * octaves, 1) in known
        if original:
            lowest = centres[(mel.mean(1) > 0.4).nonzero()[0, 0]]
            assert float(lowest) == pytest.approx(440 * 2 ** (octaves - 69 / 12), rel=0.12)
    again = batch_of(heard, capture_share=0.0)
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_excerpts_of_a_hearing_are_of_different_performances(heard: HeardCorpus) -> None:
    played = batch_of(heard)["played"][:, 0].view(-1, GROUP)
    assert all(len(set(group.tolist())) == GROUP for group in played)


def test_a_changed_hearing_is_another_timbre_and_a_captured_one_is_not(heard: HeardCorpus) -> None:
    plain, captured = batch_of(heard, capture_share=0.0), batch_of(heard, capture_share=1.0)
    assert not bool(plain["captured"].any()) and bool(captured["captured"].all())
    assert (
        float(captured["mel"][captured["original"]].mean()) > float(plain["mel"][plain["original"]].mean()) + 0.05
    )  # rooms and hiss fill gaps
    hearings = plain["mel"].mean(-1).view(-1, GROUP, N_MELS)
    pairs = [(hearings[i], hearings[i + 1]) for i in range(0, len(hearings), 2)]
    assert all(float((a - b).abs().mean()) > 1e-3 for a, b in pairs)


def test_makers_and_channels_are_of_one_kind(heard: HeardCorpus) -> None:
    kinds = kinds_of([heard.corpus])
    assert kinds == ["flute", "oboe", "violin"]
    batch = batch_of(heard)
    rows = {
        heard.corpus.timbres[row]["name"]: kinds[kind] for row, kind in zip(batch["timbre"].tolist(), batch["kind"].tolist(), strict=True)
    }
    assert all(kind == name.split("@")[0].split("_")[0] for name, kind in rows.items())


def test_of_other_corpora_only_the_kind_is_told(heard: HeardCorpus) -> None:
    batch = batch_of(heard, others=(heard,), other_share=0.5)
    foreign = batch["timbre"] < 0
    assert 0.2 < float(foreign.float().mean()) < 0.8 and bool((batch["kind"] >= 0).all())
