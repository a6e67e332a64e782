"""What the comparisons of training steps share: a split as the trainings take it, and the rates of its parts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.datasets import ImageArray, Labels
from sslbench.training.loop import Step

TOOLS = Path(__file__).parents[2] / "tools"


class Line:
    """Learns a number; counts the batches that are drawn."""

    def __init__(self) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.optimiser = torch.optim.SGD(self.model.parameters(), 0.1)
        self.drawn: list[int] = []

    def batch(self, step: Step) -> torch.Tensor:
        self.drawn.append(step.number)
        return torch.ones(4, 1)

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.model(batch) - 1).square().mean()


def test_a_split_and_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(TOOLS)
    import training_steps

    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    part = training_steps.part_of(ImageArray("three", pixels), Labels(np.arange(3)), tmp_path)
    assert len(part.originals(8)) == 3
    learner = Line()
    found = training_steps.rounds(learner, 4, 2, 3)
    assert list(found) == ["whole step", "bare step", "batches alone"] and all(
        len(each) == 3 for each in found.values()
    )
    # A first step of each part, then two in each of three rounds.
    assert learner.drawn == [0] * 3 + [0, 1] * 9
    training_steps.print_table({"whole step": [1.0, 2.0], "bare step": [2.0, 2.0]}, "made up")
    assert "| time of a whole step / bare step | 1.500 (1.000 to 2.000) |" in capsys.readouterr().out
    sys.modules.pop("training_steps")
