"""The losses of z: each can be left out, and none asks for what it should not."""

from __future__ import annotations

import pytest
import torch

from tonetransfer.training.losses import TimbreLosses, TimbreLossWeights

N_GROUPS, SIZE, Z_DIM = 8, 3, 6


def make_batch() -> dict[str, torch.Tensor]:
    """Four timbres, each as it is and changed."""
    group = torch.arange(N_GROUPS).repeat_interleave(SIZE)
    torch.manual_seed(1)
    return {
        "group": group,
        "timbre": group // 2,
        "kind": group // 4,
        "original": group % 2 == 0,
        "captured": torch.zeros(len(group), dtype=torch.bool),
        "played": torch.randn(len(group), 2),
    }


def losses(**weights: float) -> TimbreLosses:
    torch.manual_seed(0)
    return TimbreLosses(Z_DIM, 2, TimbreLossWeights(**{name: weights.get(name, 0.0) for name in TimbreLossWeights.__dataclass_fields__}))


TABLE = 3.0 * torch.eye(4, Z_DIM)


def test_the_sum_is_that_of_the_figures() -> None:
    z, batch = torch.randn(N_GROUPS * SIZE, Z_DIM), make_batch()
    names = {"alignment": "apart", "kind": "kind", "consistency": "inconsistent", "contrast": "contrast"}
    bare = losses()(z, batch, TABLE)[0]
    for name, figure in names.items():
        torch.manual_seed(0)
        loss, figures = losses(**{name: 2.0})(z, batch, TABLE)
        assert float(loss.detach() - bare.detach()) == pytest.approx(2.0 * float(figures[figure].detach()), rel=1e-3)
        assert float(figures[figure].detach()) > 0


def test_z_on_its_row_is_where_alignment_and_contrast_want_it() -> None:
    batch = make_batch()
    at_home = TABLE[batch["timbre"]] + 0.01 * torch.randn(N_GROUPS * SIZE, Z_DIM)
    at_home[~batch["original"]] = torch.randn(4, Z_DIM).repeat_interleave(SIZE, 0)
    strange = at_home.roll(2 * SIZE, 0)
    for name, figure in (("alignment", "apart"), ("contrast", "contrast")):
        near, far = (float(losses(**{name: 1.0})(z, batch, TABLE)[1][figure]) for z in (at_home, strange))
        assert near < 0.5 * far
    assert float(losses()(at_home, batch, TABLE)[1]["apart"]) < 1e-3  # changed excerpts are not drawn to the row


def test_excerpts_of_other_corpora_have_no_row() -> None:
    z, batch = torch.randn(N_GROUPS * SIZE, Z_DIM), make_batch()
    batch["timbre"][: 2 * SIZE] = -1
    moved = z.clone()
    moved[:SIZE] += 100.0
    a, b = (float(losses()(x, batch, TABLE)[1]["apart"]) for x in (z, moved))
    assert a == b


def test_no_gradient_reaches_the_table() -> None:
    z, table = torch.randn(N_GROUPS * SIZE, Z_DIM, requires_grad=True), TABLE.clone().requires_grad_()
    losses(alignment=1.0, kind=1.0, consistency=1.0, contrast=1.0)(z, make_batch(), table)[0].backward()
    assert table.grad is None and z.grad is not None and bool(z.grad.isfinite().all())
