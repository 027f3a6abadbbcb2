"""The adversary finds what was played if z tells it, and nothing if z does not."""

from __future__ import annotations

import torch

from tonetransfer.adversary import Adversary, erasure


def last_reading(leak: float, steps: int = 300) -> float:
    """What is unread at the end, as a share of the variance, when one number of z holds the pitch times `leak`."""
    torch.manual_seed(0)
    adversary = Adversary(8)
    optimizer = torch.optim.Adam(adversary.parameters(), 3e-3)
    shares = []
    for _ in range(steps):
        played = torch.randn(16, 2, 2)
        pairs = torch.randn(16, 1, 8) + 0.1 * torch.randn(16, 2, 8)
        pairs[..., 0] += leak * played[..., 0]
        pairs[..., 1] += leak * played[..., 1]
        own, _ = adversary(pairs, played)
        optimizer.zero_grad()
        own.backward()
        optimizer.step()
        shares.append(float(own))
    return sum(shares[-20:]) / 20


def test_a_leak_is_read_however_small_its_scale() -> None:
    assert last_reading(0.3) < 0.35


def test_where_nothing_leaks_little_is_read() -> None:
    assert last_reading(0.0) > 0.7  # it remembers some pairs by heart


def test_each_side_moves_only_its_own_weights() -> None:
    adversary = Adversary(8)
    pairs = torch.randn(4, 2, 8, requires_grad=True)
    own, told = adversary(pairs, torch.randn(4, 2, 2))
    own.backward()
    assert pairs.grad is None
    assert all(p.grad is not None for p in adversary.parameters())
    adversary.zero_grad()
    told.backward()
    assert pairs.grad is not None and float(pairs.grad.abs().max()) > 0
    assert all(p.grad is None for p in adversary.parameters())


def test_the_linear_reader_follows_a_leak_that_turns() -> None:
    torch.manual_seed(0)
    adversary = Adversary(8)
    told = {}
    for step in range(120):
        played = torch.randn(16, 2, 2)
        pairs = torch.randn(16, 1, 8) + 0.1 * torch.randn(16, 2, 8)
        pairs[..., 0] += (1.0 if step < 60 else -1.0) * played[..., 0]
        told[step] = float(adversary(pairs, played)[1])
    assert told[59] > 0.3 and told[119] > 0.3 and min(told[step] for step in range(60, 75)) < 0.5 * told[59]


def test_erasure_takes_what_was_played_and_leaves_who_plays() -> None:
    torch.manual_seed(0)
    played = torch.randn(1024, 2, 2)
    pairs = torch.randn(1024, 1, 8) + 0.05 * torch.randn(1024, 2, 8)
    pairs[..., 2] += 0.3 * played[..., 0]
    pairs[..., 5] += 0.2 * played[..., 1]
    asked = played[:, 0] - played[:, 1]
    left = pairs @ erasure(pairs[:, 0] - pairs[:, 1], asked).T
    for z, readable in ((pairs, True), (left, False)):
        difference = z[:, 0] - z[:, 1]
        read = difference @ torch.linalg.lstsq(difference, asked).solution
        assert (float(1.0 - (asked - read).square().sum() / asked.square().sum()) > 0.5) == readable
    untouched = [0, 1, 3, 4, 6, 7]
    assert float((left - pairs)[..., untouched].abs().mean()) < 0.1
