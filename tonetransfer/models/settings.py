"""Shape of the networks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Settings: fixed, and nothing else beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSettings(Section):
    """Shape of the networks; stored with the weights."""

    sample_rate: int = Field(48000, ge=1000, le=1_000_000)  # full band: older systems stop at 16 kHz and sound dull
    hop_length: int = Field(480, gt=0, le=100_000)  # 100 frames a second, exact on CREPE's 16 kHz grid
    z_dim: int = Field(64, gt=0)
    encoder_width: int = Field(256, gt=0, multiple_of=8)
    decoder_width: int = Field(384, gt=0, multiple_of=2)
    n_harmonics: int = Field(100, gt=0)
    n_bands: int = Field(96, gt=1)  # half ERB, half linear: the roll-off of a recording lies in the top octave
