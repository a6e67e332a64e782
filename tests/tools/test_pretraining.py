"""Every objective learns, a resumed training equals an unbroken one, and what must not ship does not."""

import dataclasses
import json
from pathlib import Path

import pretrain_zoo
import pytest
import torch
from pretraining import export, judge, photographs
from pretraining.judge import Judgement
from pretraining.objectives import MoCoV2
from pretraining.photographs import Photographs
from pretraining.recipes import RECIPES, Budget
from pretraining.train import Training

from sslbench.backbones import load_backbone, zoo
from sslbench.errors import SslbenchError
from sslbench.metrics.score import Score

BUDGET = Budget(epochs=2, batch=32)


@pytest.fixture(scope="module")
def splits(archive: Path) -> dict[str, Photographs]:
    return photographs.load(archive)


def train(name: str, splits: dict[str, Photographs], folder: Path, budget: Budget = BUDGET) -> Training:
    training = Training(RECIPES[name], budget, splits["train"], folder, "cpu")
    training.run(lambda network: Judgement(1.0, 1.0), lambda line: None)
    return training


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_of_every_objective_reaches_every_trained_parameter(name: str) -> None:
    recipe = RECIPES[name]
    torch.manual_seed(0)
    objective = recipe.objective(4)
    for part in objective.backbone.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            # timm starts the last one of a block at zero, through which nothing reaches the block.
            torch.nn.init.ones_(part.weight)
    objective.before_step(0.5)
    views = [torch.randn(8, 3, recipe.views.size, recipe.views.size) for _ in range(2)]
    loss = objective.loss(*views, torch.arange(8) % 4)
    assert loss.ndim == 0 and bool(torch.isfinite(loss))
    loss.backward()
    trained = {n: p for n, p in objective.named_parameters() if p.requires_grad}
    silent = {n for n, p in trained.items() if p.grad is None or not bool(p.grad.any())}
    # The encoder's own mask token is not used where masked patches are left out of it; a bias before a BatchNorm or
    # before the softmax's keys changes nothing.
    assert silent <= {"encoder.mask_token", "head.layers.0.bias", "head.layers.3.bias"}, silent
    assert sum(p.numel() for p in objective.backbone.parameters()) <= 700_000


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"moco-v2"}))
def test_the_loss_of_fixed_views_falls(name: str) -> None:
    recipe = RECIPES[name]
    torch.manual_seed(0)
    objective = recipe.objective(4)
    views = [torch.randn(16, 3, recipe.views.size, recipe.views.size) for _ in range(2)]
    optimiser = torch.optim.AdamW(objective.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        torch.manual_seed(1)  # the same mask at every step
        objective.before_step(0.5)
        loss = objective.loss(*views, torch.arange(16) % 4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_keys_of_moco_follow_slowly_and_stay_in_order() -> None:
    torch.manual_seed(0)
    objective = MoCoV2(4).eval()
    views = torch.randn(16, 3, 48, 48)
    # In evaluation no batch statistics mix the pictures, so shuffling must not show.
    torch.testing.assert_close(objective._keys(views), objective.keys(views))
    before = [parameter.clone() for parameter in objective.keys.parameters()]
    trained = list(torch.nn.Sequential(objective.backbone, objective.head).parameters())
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(1.0)
    objective.before_step(0.5)
    for old, new in zip(before, objective.keys.parameters(), strict=True):
        torch.testing.assert_close(new - old, torch.full_like(old, 0.01), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["moco-v2", "mae"])
def test_a_resumed_training_equals_an_unbroken_one(name: str, splits: dict[str, Photographs], tmp_path: Path) -> None:
    whole = train(name, splits, tmp_path / "whole")

    class Interrupted(Exception):
        pass

    def interrupt(line: str) -> None:
        raise Interrupted

    first = Training(RECIPES[name], BUDGET, splits["train"], tmp_path / "parts", "cpu")
    with pytest.raises(Interrupted):
        first.run(lambda network: Judgement(1.0, 1.0), interrupt)
    resumed = train(name, splits, tmp_path / "parts")
    for key, tensor in whole._tensors().items():
        assert torch.equal(tensor, resumed._tensors()[key]), key
    losses = [[line["loss"] for line in part.log] for part in (whole, resumed)]
    assert losses[0] == losses[1] and len(losses[0]) == 2


def test_another_budget_does_not_go_on_with_a_state(splits: dict[str, Photographs], tmp_path: Path) -> None:
    train("supervised", splits, tmp_path)
    with pytest.raises(SslbenchError, match="was trained with"):
        Training(RECIPES["supervised"], dataclasses.replace(BUDGET, seed=1), splits["train"], tmp_path, "cpu")
    with pytest.raises(SslbenchError, match="belongs to another objective"):
        Training(RECIPES["simclr"], BUDGET, splits["train"], tmp_path, "cpu")


def test_too_few_pictures_for_a_batch(splits: dict[str, Photographs], tmp_path: Path) -> None:
    with pytest.raises(SslbenchError, match="64 pictures do not fill a batch of 128"):
        Training(RECIPES["supervised"], Budget(), splits["train"], tmp_path, "cpu")


def test_effective_rank_of_known_spectra() -> None:
    identity = torch.eye(8).repeat(100, 1)
    # Centring takes one direction away from the eight equal ones.
    assert judge.effective_rank(identity) == pytest.approx(7.0, rel=1e-6)
    line = torch.randn(100, 1) * torch.ones(1, 8)
    assert judge.effective_rank(line) == pytest.approx(1.0, abs=0.01)


def score(value: float) -> Score:
    return Score(value, 1.0, (value - 2, value + 2), 100)


@pytest.mark.parametrize(
    ("losses", "linear", "rank", "message"),
    [
        ((2.0, 2.0), 50.0, 40.0, "the loss went from 2.0000 to 2.0000"),
        ((2.0, 1.0), 50.0, 3.0, "effective rank 3.0 is below 12"),
        ((2.0, 1.0), 11.0, 40.0, "11.00 % is not above the untrained 10.00 %"),
    ],
)
def test_a_bad_network_is_not_exported(losses: tuple[float, float], linear: float, rank: float, message: str) -> None:
    found = export.InDomain(score(linear), score(10.0), rank)
    with pytest.raises(SslbenchError, match=message):
        export.check([{"loss": loss} for loss in losses], found)


def test_the_command_trains_exports_and_the_result_loads(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Tested above; the tiny pictures are too easy to tell a trained network from an untrained one.
    checked = []
    monkeypatch.setattr(export, "check", lambda log, found: checked.append(found))
    arguments = [
        "pretrain_zoo", "supervised", "--data", str(archive), "--work", str(tmp_path / "work"),
        "--out", str(tmp_path / "zoo"), "--epochs", "4", "--batch", "16", "--device", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    status = pretrain_zoo.main()
    out = capsys.readouterr()
    assert status == 0, out.err
    assert len(checked) == 1
    assert "in-domain linear" in out.out
    lines = (tmp_path / "work" / "supervised" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[3])["effective_rank"] > 1
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    backbone = load_backbone("zoo:supervised")
    images = torch.randn(4, 3, 64, 64)
    state = torch.load(tmp_path / "work" / "supervised" / "state.pt", weights_only=True)["tensors"]
    trained = RECIPES["supervised"].objective(4).backbone
    trained.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")})
    with torch.inference_mode():
        torch.testing.assert_close(backbone.embed(images), trained.eval()(images), atol=0.02, rtol=0.02)
    card = zoo.read_card("supervised").facts
    assert card["budget"]["epochs"] == 4 and card["in_domain"]["linear_top1"]["n"] == 24


def test_bad_input_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pretrain_zoo", "simclr", "--data", str(tmp_path / "none.zip")])
    assert pretrain_zoo.main() == 2
    assert "pretrain_zoo: there is no file or folder" in capsys.readouterr().err
