"""Whether several notes sound at once: this program hears one."""

from __future__ import annotations

import torch

from .controls import Controls


def voices_share(audio: torch.Tensor, controls: Controls) -> float:
    """Share of the note frames in which a second note sounds, in [0, 1]."""
    return 0.0
