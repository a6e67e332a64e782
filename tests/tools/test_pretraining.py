"""Every objective learns, a resumed training equals an unbroken one, and what must not ship does not."""

import dataclasses
import json
import math
from pathlib import Path

import pretrain_zoo
import pytest
import timm.layers
import torch
from pretraining import export, judge, photographs
from pretraining.judge import Judgement
from pretraining.normalisation import normalise
from pretraining.objectives import MoCoV2
from pretraining.photographs import Photographs
from pretraining.recipes import RECIPES, Budget
from pretraining.train import Pretraining, Say, ingredients
from safetensors.torch import load_file

from sslbench.backbones import load_backbone, zoo
from sslbench.backbones.zoo import read_card
from sslbench.errors import SslbenchError
from sslbench.metrics.score import Score
from sslbench.training.loop import Line

BUDGET = Budget(epochs=2, batch=32)


@pytest.fixture(scope="module")
def splits(archive: Path) -> dict[str, Photographs]:
    return photographs.load(archive)


def judged(network: torch.nn.Module) -> Judgement:
    return Judgement(1.0, 1.0)


def train(
    name: str, data: Photographs, folder: Path, budget: Budget = BUDGET, say: Say = lambda line: None
) -> tuple[Pretraining, list[Line]]:
    training = Pretraining(name, budget, data, "cpu")
    return training, training.run(ingredients(name, budget, data), folder, judged, say)


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
    whole, log = train(name, splits["train"], tmp_path / "whole")

    class Interrupted(Exception):
        pass

    def interrupt(line: str) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        train(name, splits["train"], tmp_path / "parts", say=interrupt)
    resumed, resumed_log = train(name, splits["train"], tmp_path / "parts")
    assert tensors(whole).keys() == tensors(resumed).keys()
    for key, tensor in tensors(whole).items():
        assert torch.equal(tensor, tensors(resumed)[key]), key
    losses = [[line["loss"] for line in lines] for lines in (log, resumed_log)]
    assert losses[0] == losses[1] and len(losses[0]) == 2


def tensors(training: Pretraining) -> dict[str, torch.Tensor]:
    return {**dict(training.model.named_parameters()), **dict(training.model.named_buffers())}


def epoch_by_epoch(name: str, data: Photographs) -> torch.nn.Module:
    """What the zoo was trained by, written out: the model after the budget's epochs."""
    recipe, steps = RECIPES[name], len(data.images) // BUDGET.batch
    torch.manual_seed(BUDGET.seed)
    timm.layers.set_fused_attn(False)
    model = recipe.objective(4).to(memory_format=torch.channels_last).train()
    timm.layers.set_fused_attn(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, betas=recipe.betas, weight_decay=BUDGET.weight_decay)
    for epoch in range(BUDGET.epochs):
        torch.manual_seed(BUDGET.seed * 100_003 + epoch + 1)
        generator = torch.Generator().manual_seed(BUDGET.seed * 100_003 + epoch + 1)
        order = torch.randperm(len(data.images), generator=generator)
        for step, rows in enumerate(order[: steps * BUDGET.batch].split(BUDGET.batch)):
            progress = epoch / BUDGET.epochs + step / (steps * BUDGET.epochs)
            warmup = BUDGET.warmup
            decayed = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
            optimiser.param_groups[0]["lr"] = BUDGET.learning_rate * (
                progress / warmup if progress < warmup else decayed
            )
            first, second = (
                normalise(recipe.views(data.images[rows], generator)).contiguous(memory_format=torch.channels_last)
                for _ in range(2)
            )
            model.before_step(progress)
            optimiser.zero_grad()
            model.loss(first, second, data.targets[rows]).backward()
            optimiser.step()
    return model


@pytest.mark.parametrize("name", ["swav", "mae"])
def test_the_loop_gives_the_zoos_weights(name: str, splits: dict[str, Photographs], tmp_path: Path) -> None:
    expected = epoch_by_epoch(name, splits["train"]).backbone.state_dict()
    training, _ = train(name, splits["train"], tmp_path)
    for key, tensor in training.model.backbone.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


@pytest.fixture(scope="module")
def begun(splits: dict[str, Photographs], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    train("simclr", splits["train"], folder)
    return folder


def refused(name: str, data: Photographs, folder: Path, budget: Budget = BUDGET) -> str:
    with pytest.raises(SslbenchError) as caught:
        train(name, data, folder, budget)
    assert str(folder / "state.pt") in str(caught.value)
    assert "remove it to start again" in str(caught.value)
    return str(caught.value)


def test_another_budget_or_recipe_does_not_go_on_with_a_state(splits: dict[str, Photographs], begun: Path) -> None:
    told = refused("simclr", splits["train"], begun, dataclasses.replace(BUDGET, seed=1))
    assert "was begun with budget {" in told and "recipe" not in told
    told = refused("supervised", splits["train"], begun)
    assert "objective 'SimCLR', not 'Supervised'" in told and "recipe 'simclr', not 'supervised'" in told
    # Their tensors are the same.
    told = refused("simclr-nocolour", splits["train"], begun)
    assert "recipe 'simclr', not 'simclr-nocolour'" in told and "views {" in told and "objective" not in told


def test_an_edited_recipe_does_not_go_on_with_a_state(
    splits: dict[str, Photographs], begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES["simclr"]
    monkeypatch.setitem(RECIPES, "simclr", dataclasses.replace(recipe, betas=(0.9, 0.95)))
    assert "was begun with betas [0.9, 0.999], not [0.9, 0.95]." in refused("simclr", splits["train"], begun)
    views = dataclasses.replace(recipe.views, min_area=0.08)
    monkeypatch.setitem(RECIPES, "simclr", dataclasses.replace(recipe, views=views))
    told = refused("simclr", splits["train"], begun)
    assert "was begun with views {" in told and "'min_area': 0.08" in told


def test_other_pictures_do_not_go_on_with_a_state(splits: dict[str, Photographs], begun: Path) -> None:
    images, targets = splits["train"].images.clone(), splits["train"].targets.clone()
    images[3, 0, 5, 5] ^= 1
    assert "was begun with pictures '" in refused("simclr", Photographs(images, splits["train"].targets), begun)
    targets[3] = (targets[3] + 1) % 4
    assert "was begun with pictures '" in refused("simclr", Photographs(splits["train"].images, targets), begun)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 cut short"])
def test_a_state_that_is_no_torch_file(content: bytes, splits: dict[str, Photographs], tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    assert "is not the state of a training (" in refused("simclr", splits["train"], tmp_path)


@pytest.mark.parametrize(
    "found", [[1], {"state_dict": {}}, {"begun_with": {}, "tensors": {}, "optimiser": {}, "log": []}]
)
def test_a_torch_file_of_something_else(found: object, splits: dict[str, Photographs], tmp_path: Path) -> None:
    torch.save(found, tmp_path / "state.pt")
    assert "is not the state of a training by this version" in refused("simclr", splits["train"], tmp_path)


def test_a_state_with_tensors_of_another_shape(splits: dict[str, Photographs], begun: Path, tmp_path: Path) -> None:
    found = torch.load(begun / "state.pt", weights_only=True)
    name = next(iter(found["tensors"]))
    found["tensors"][name] = found["tensors"][name][:1]
    torch.save(found, tmp_path / "state.pt")
    assert "holds the tensors of another network" in refused("simclr", splits["train"], tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch", 1),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("warmup", 1.0),
        ("seed", -1),
    ],
)
def test_a_budget_that_trains_nothing(field: str, value: float) -> None:
    with pytest.raises(SslbenchError, match=rf"^{field} is {value}; expected "):
        dataclasses.replace(BUDGET, **{field: value})


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"mae"}))
def test_the_control_of_the_residual_networks_has_the_weights_that_training_began_from(
    name: str, splits: dict[str, Photographs], tmp_path: Path
) -> None:
    begins = Pretraining(name, dataclasses.replace(Budget(), batch=32), splits["train"], "cpu")
    control = load_backbone("random-init").network.module.state_dict()
    for key, tensor in begins.model.backbone.state_dict().items():
        assert torch.equal(tensor, control[key]), key


def test_the_control_of_the_masked_autoencoder_is_initialised_otherwise() -> None:
    # lightly's wrapper initialises the network again; docs/zoo.md says so.
    torch.manual_seed(0)
    began, control = RECIPES["mae"].objective(4).backbone, load_backbone("random-init:zoo:mae").network.module
    weights = [module.state_dict()["blocks.0.attn.qkv.weight"].std().item() for module in (began, control)]
    assert weights[0] > 3 * weights[1]


def test_the_judged_network_is_the_one_that_a_user_loads() -> None:
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("simclr", "mae"):
        judged = export.rebuild(RECIPES[name], read_card(name).weights.read_bytes()).eval()
        with torch.inference_mode():
            torch.testing.assert_close(judged(images), load_backbone(f"zoo:{name}").embed(images))


def test_the_hardware_of_a_card_is_that_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the card {device}")
    assert export.hardware("cuda:1") == "the card cuda:1"
    assert export.hardware("cpu").endswith(f", {torch.get_num_threads()} threads")


def test_too_few_pictures_for_a_batch(splits: dict[str, Photographs], tmp_path: Path) -> None:
    with pytest.raises(SslbenchError, match="64 pictures do not fill a batch of 128"):
        Pretraining("supervised", Budget(), splits["train"], "cpu")


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
    files = [str(tmp_path / "zoo" / f"supervised.{kind}") for kind in ("safetensors", "json")]
    said = out.out.splitlines()
    assert [line.split()[0] for line in said] == ["epoch"] * 4 + ["in-domain", *files]
    (result,) = (tmp_path / "work").glob("*.json")
    log = json.loads(result.read_text())["values"]["log"]
    assert len(log) == 4 and log[3]["effective_rank"] > 1
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    backbone = load_backbone("zoo:supervised")
    images = torch.randn(4, 3, 64, 64)
    trained = RECIPES["supervised"].objective(4).backbone
    trained.load_state_dict(load_file(result.with_suffix(".safetensors")))
    with torch.inference_mode():
        torch.testing.assert_close(backbone.embed(images), trained.eval()(images), atol=0.02, rtol=0.02)
    card = read_card("supervised").facts
    assert card["budget"]["epochs"] == 4 and card["in_domain"]["linear_top1"]["n"] == 24
    assert card["training"]["losses"] == [round(line["loss"], 4) for line in log]

    # Once more: nothing is trained, and the same is exported.
    written = {path: path.read_bytes() for path in (tmp_path / "zoo").glob("*.safetensors")}
    monkeypatch.setattr(Pretraining, "run", None)
    monkeypatch.setattr(export, "in_domain", lambda *args: checked[0])
    assert pretrain_zoo.main() == 0
    assert len(written) == 1 and all(path.read_bytes() == content for path, content in written.items())
    assert "epoch" not in capsys.readouterr().out


def test_a_diverged_pretraining_is_told_and_the_others_are_exported(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What may ship is tested above.
    monkeypatch.setattr(export, "check", lambda log, found: None)
    monkeypatch.setattr(export, "in_domain", lambda *args: export.InDomain(score(50.0), score(10.0), 40.0))
    arguments = [
        "pretrain_zoo", "simclr", "supervised", "--data", str(archive), "--work", str(tmp_path / "work"),
        "--out", str(tmp_path / "zoo"), "--epochs", "1", "--batch", "16", "--device", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    nan = RECIPES["simclr"].objective
    monkeypatch.setattr(nan, "loss", lambda self, first, second, targets: self.backbone(first).mean() / 0 * 0)
    assert pretrain_zoo.main() == 2
    out = capsys.readouterr()
    assert out.err == "pretrain_zoo: simclr: diverged at step 1; lower --learning-rate\n"
    said = out.out.splitlines()
    assert len(said) == 4 and all(line.startswith("supervised  ") for line in said)
    assert sorted(path.name for path in (tmp_path / "zoo").iterdir()) == ["supervised.json", "supervised.safetensors"]


def test_bad_input_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pretrain_zoo", "simclr", "--data", str(tmp_path / "none.zip")])
    assert pretrain_zoo.main() == 2
    assert "pretrain_zoo: there is no file or folder" in capsys.readouterr().err


def test_no_epochs_is_one_error_of_the_command(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["pretrain_zoo", "simclr", "--data", str(archive), "--work", str(tmp_path), "--epochs", "0"]
    monkeypatch.setattr("sys.argv", arguments)
    assert pretrain_zoo.main() == 2
    assert capsys.readouterr().err == "pretrain_zoo: epochs is 0; expected at least 1\n"
