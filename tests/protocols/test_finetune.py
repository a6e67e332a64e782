"""Fine-tuning: the study's way step for step, what is chosen and recorded, what else can be asked for, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sslbench.errors import BackboneError, DataError, DeviceError, TrainingError
from sslbench.metrics import METRICS
from sslbench.protocols import _finetune_options, _finetune_training, finetune
from sslbench.protocols._finetune_network import TunedNetwork
from sslbench.protocols._finetune_options import STUDY, Options
from sslbench.protocols._finetune_training import Learner, Setting, training_set
from sslbench.protocols.base import Part
from sslbench.training.loop import Step
from sslbench.training.progress import GridBar
from sslbench.training.trials import TrialResult
from tests.conftest import Registries
from tests.protocols import tuning
from tests.protocols.tuning import SIZE, Sets, Small, backbone, pictures, run

DEFAULTS = {"finetune-weight-decay": "over-rate", "finetune-decayed": "all", "finetune-last-batch": "keep"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tuned(registries: Registries) -> Sets:
    return Sets()


def silent() -> GridBar:
    return GridBar(lambda steps: None, lambda text: None, 1)


def part(count: int, *, classes: int = 4, several: bool = False, size: int = SIZE) -> Part:
    from sslbench.features.originals import open_originals
    from sslbench.features.pictures import Pictures

    images, targets = pictures("part", count, classes, 5, several=several, size=size)
    return Part(
        images, targets, features=None, unreadable=lambda rows: None, shown=None,
        originals=lambda side: open_originals(
            images, side, extraction="exact", pictures=Pictures(Path("unused"), 0), device="cpu"
        ),
    )  # type: ignore[arg-type]  # fmt: skip


def setting(options: str = "", *, network: nn.Module | None = None, batch: int = 16, **switches: str) -> Setting:
    parsed = Options.parse(options)
    assert parsed is not None
    return Setting(backbone(network), parsed, 4, METRICS["top1"], batch, {**DEFAULTS, **switches}, {"case": "test"})


@pytest.mark.parametrize("decay_switch", ["over-rate", "plain"])
@pytest.mark.parametrize("decayed", ["all", "weights"])
def test_a_training_is_torchs_own_sgd_with_a_cosine_on_the_same_batches(decay_switch: str, decayed: str) -> None:
    """By hand: torch's plain SGD and its CosineAnnealingLR, stepped each update, on batches that the learner draws."""
    shared = setting(**{"finetune-weight-decay": decay_switch, "finetune-decayed": decayed})
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 0.01, "steps": 9, "seed": 0}
    ours = shared.trained(train_set, given, "search", None, silent())

    seed = _finetune_training.seed_of({"case": "test"}, "search", given)
    network = shared.network(seed)
    decay = 0.01 / 0.05 if decay_switch == "over-rate" else 0.01
    vectors = [p for p in network.parameters() if p.ndim == 1]
    matrices = [p for p in network.parameters() if p.ndim > 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": decay if decayed == "all" else 0.0}]
    optimiser = torch.optim.SGD(groups, 0.05, momentum=0.9, nesterov=True, weight_decay=decay, foreach=False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=9)
    learner = Learner(
        network,
        optimiser,
        train_set,
        shared.backbone.preprocessing,
        batch=16,
        drop_last=False,
        seed=seed,
        bfloat16=False,
    )
    network.train()
    sizes = []
    for number in range(9):
        images, targets = learner.batch(Step(number, 0.0, torch.Generator()))
        sizes.append(len(images))
        optimiser.zero_grad()
        nn.CrossEntropyLoss()(network(images), targets).backward()
        optimiser.step()
        schedule.step()
    assert sizes == [16, 16, 8] * 3
    theirs = network.state_dict()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)
    untrained = shared.network(seed).state_dict()
    assert not torch.equal(untrained["head.weight"], theirs["head.weight"])


def test_each_pass_shows_every_picture_once_and_dropping_leaves_the_short_batch_out() -> None:
    train_set = training_set(part(40), np.arange(40), 64)
    shared = setting()
    for drop, per_pass in ((False, 3), (True, 2)):
        learner = Learner(
            shared.network(0), torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), train_set,
            shared.backbone.preprocessing, batch=16, drop_last=drop, seed=4, bfloat16=False,
        )  # fmt: skip
        passes = [[learner._items(turn * per_pass + number) for number in range(per_pass)] for turn in range(2)]
        flat = [[item for items in one for item in items] for one in passes]
        assert all(len(set(one)) == len(one) == (32 if drop else 40) for one in flat)
        assert flat[0] != flat[1]
        # By its number alone, whatever was asked for before.
        assert learner._items(1) == passes[0][1]


def test_the_loss_of_several_labels_is_torchs_own_and_leaves_ignored_classes_out() -> None:
    several = training_set(part(12, several=True), np.arange(12), 64)
    shared = setting(batch=12)
    network = shared.network(0).eval()
    learner = Learner(
        network, torch.optim.SGD(network.parameters(), 0.1), several, shared.backbone.preprocessing,
        batch=12, drop_last=False, seed=0, bfloat16=False,
    )  # fmt: skip
    images, targets = learner.batch(Step(0, 0.0, torch.Generator()))
    assert bool((targets == -1).any())
    logits = network(images)
    judged = targets >= 0
    expected = nn.BCEWithLogitsLoss()(logits[judged], (targets[judged] == 1).float())
    torch.testing.assert_close(learner.loss((images, targets)), expected)
    # Without an ignored class it is the official code's mean over all entries.
    known = targets.clamp(min=0)
    torch.testing.assert_close(learner.loss((images, known)), nn.BCEWithLogitsLoss()(logits, known.float()))


def test_the_case_is_the_chosen_trial_trained_again_on_both_splits(tuned: Sets, tmp_path: Path) -> None:
    record = run(tmp_path)
    told = record.hyperparameters
    trials = told["trials"]
    assert [(trial["rate"], trial["decay"]) for trial in trials] == [(0.1, 0.0), (0.1, 1e-4), (0.01, 0.0), (0.01, 1e-4)]
    scores = [trial["val_score"] for trial in trials]
    best = trials[scores.index(max(scores))]
    assert (told["rate"], told["decay"], told["val_score"]) == (best["rate"], best["decay"], max(scores))
    assert (told["steps"], told["batch"], told["recipe"]) == (6, 16, "quick")
    assert told["pictures"] == {"train": 40, "val": 20}
    assert record.main_score == "top1" and record.scores["top1"]["n"] == 40
    kept = [json.loads(path.read_text()) for path in (tmp_path / "trials").glob("*.json")]
    assert sorted(each["stage"] for each in kept) == ["last", *["search"] * 4]
    # Only what was trained on both splits keeps its weights.
    files = [load_file(path) for path in (tmp_path / "trials").glob("*.safetensors")]
    assert sum("head.weight" in tensors for tensors in files) == 1
    assert sum("val_decision" in tensors for tensors in files) == 4


def test_a_second_run_trains_nothing_and_another_seed_of_numbers_gives_the_same(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path / "a")
    torch.manual_seed(12345)
    np.random.seed(12345)
    other = run(tmp_path / "b")
    assert (first.scores, first.hyperparameters, first.paired) == (other.scores, other.hyperparameters, other.paired)
    monkeypatch.setattr(_finetune_training, "train", None)
    again = run(tmp_path / "a")
    assert (again.scores, again.hyperparameters) == (first.scores, first.hyperparameters)


def trial(value: float | None, at: int | None = None) -> TrialResult:
    values = None if value is None else {"val_score": value}
    return TrialResult(values, {"val_decision": torch.zeros(1)}, at)


def search(values: list[TrialResult], rounds: list[tuple[int, int]]) -> tuple[int, list[dict[str, object]], list[int]]:
    """What is chosen when trial i of the grid gives values[i], and how many trained in each round."""
    grid = [{"rate": float(number), "decay": 0.0, "seed": 0} for number in range(len(values))]
    counts: list[int] = []

    def fake(trialled: list[dict[str, float]], watch: object) -> list[TrialResult]:
        counts.append(len(trialled))
        return [values[int(each["rate"])] for each in trialled]

    best, _, table = finetune._search(grid, rounds, fake, silent())
    return best, table, counts


def test_better_means_strictly_better_in_the_grids_order_and_what_diverged_is_told() -> None:
    best, table, _ = search([trial(None, 7), trial(50.0), trial(60.0), trial(60.0)], [(4, 10)])
    assert best == 2
    assert table[0] == {"rate": 0.0, "decay": 0.0, "steps": 10, "diverged_at": 7}
    with pytest.raises(TrainingError, match="all 2 trainings with 10 steps diverged, the first one at step 3"):
        search([trial(None, 3), trial(None, 9)], [(2, 10)])


def test_halving_trains_fewer_for_longer() -> None:
    assert finetune._halving(20, 5000) == [(20, 312), (5, 1250), (2, 5000)]
    values = [trial(float(score)) for score in (3, 9, 1, 7, 8, 2, 6, 9)]
    best, table, counts = search(values, finetune._halving(8, 160))
    assert (best, counts) == (1, [8, 2, 1])
    assert [row["steps"] for row in table] == [10] * 8 + [40] * 2 + [160]


def test_a_diverged_training_is_a_result(tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = replace(_finetune_options.RECIPES["quick"], rates=(1e30, 0.01), decays=(0.0,))
    monkeypatch.setitem(_finetune_options.RECIPES, "quick", wild)
    told = run(tmp_path).hyperparameters
    assert told["rate"] == 0.01
    assert told["trials"][0].keys() == {"rate", "decay", "steps", "diverged_at"}
    monkeypatch.setitem(_finetune_options.RECIPES, "quick", replace(wild, rates=(1e30,)))
    with pytest.raises(TrainingError, match="all 1 trainings with 6 steps diverged"):
        run(tmp_path / "other")


def test_the_backbone_and_its_other_cases_see_nothing_of_it(tuned: Sets, tmp_path: Path) -> None:
    from sslbench.config import Settings
    from sslbench.runner import Case, Runner
    from sslbench.tasks import Task

    own = backbone()
    before = {name: tensor.clone() for name, tensor in own.network.module.state_dict().items()}

    def linear(folder: str) -> tuple[object, ...]:
        runner = Runner(Settings(cache_dir=tmp_path / folder, device="cpu"))
        runner.add_backbone(own)
        record = runner.prepare(Case(own.name, Task("linear", "tuned"))).execute()
        return record.key, record.scores, record.paired, record.backbone["digest"]

    first = linear("before")
    run(tmp_path, network=own)
    assert linear("after") == first
    after = own.network.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_last_layers_alone_are_trained_and_the_others_keep_their_statistics(tuned: Sets, tmp_path: Path) -> None:
    own = backbone()
    record = run(tmp_path, "last-1+recipe=quick+steps=6+batch=16", network=own)
    assert record.hyperparameters["trained"] == "6 of 14 tensors"
    (weights,) = [
        tensors for path in (tmp_path / "trials").glob("*.safetensors") if "head.weight" in (tensors := load_file(path))
    ]
    original = own.network.module.state_dict()
    for name, tensor in original.items():
        same = torch.equal(weights[f"body.{name}"], tensor)
        assert same != name.startswith("layer3"), name
    with pytest.raises(BackboneError, match="small has 2 stages or blocks behind its first layer, so that last-3"):
        run(tmp_path, "last-3+recipe=quick", network=own)


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [("resnet18", 1, "layer4.0.conv1.weight"), ("vit_tiny_patch16_224", 2, "blocks.10.norm1.weight"),
     ("convnext_atto", 1, "stages.3.downsample.0.weight"),
     ("swin_tiny_patch4_window7_224", 1, "layers.3.downsample.norm.weight")],
)  # fmt: skip
def test_last_stages_are_timms_and_a_last_norm_belongs_to_them(name: str, count: int, first: str) -> None:
    import timm

    from sslbench.protocols._finetune_network import last_groups

    with torch.device("meta"):
        body = timm.create_model(name, num_classes=0)
    groups = last_groups(body, count, name)
    names = [each for group in groups for each in group]
    assert len(groups) == count and names[0] == first
    # Everything from the first of them on, nothing before.
    order = [each for each, _ in body.named_parameters()]
    assert sorted(names) == sorted(order[order.index(first) :])


def test_the_recipe_for_vits_has_timms_layer_decay() -> None:
    from timm.optim import param_groups_layer_decay

    from sslbench.backbones import load_backbone

    own = load_backbone("random-init:zoo:mae")
    network = TunedNetwork(own, 5, last=None, seed=0)
    recipe = _finetune_options.RECIPES["vit"]
    assert recipe.layer_decay is not None
    groups = network.groups(recipe, 1e-3, 0.05, decayed="all")
    by_id = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(by_id) == len(list(network.parameters()))
    body = network.body
    theirs = param_groups_layer_decay(
        body, 0.05, no_weight_decay_list=body.no_weight_decay(), layer_decay=recipe.layer_decay
    )
    for group in theirs:
        for parameter in group["params"]:
            rate, decay = by_id[id(parameter)]
            # timm's deepest layer has the full rate, as it counts the classifier among the layers; here the classifier is above.
            assert rate == pytest.approx(1e-3 * recipe.layer_decay * group["lr_scale"])
            assert decay == group["weight_decay"]
    assert by_id[id(network.head.weight)] == (1e-3, 0.05)
    with pytest.raises(BackboneError, match=r"recipe=vit needs a network of timm's, which tells its blocks, got Small"):
        setting("recipe=vit").network(0).groups(recipe, 1e-3, 0.05, decayed="all")


def test_a_vit_is_trained_by_its_recipe(tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sslbench.backbones import load_backbone

    small = replace(_finetune_options.RECIPES["vit"], rates=(1e-3,), decays=(0.05,))
    monkeypatch.setitem(_finetune_options.RECIPES, "vit", small)
    told = run(tmp_path, "recipe=vit+steps=4+batch=8", network=load_backbone("random-init:zoo:mae")).hyperparameters
    assert (told["recipe"], told["steps"], told["batch"]) == ("vit", 4, 8)


def test_a_part_of_the_labels_is_stratified_and_the_same_each_time(tuned: Sets, tmp_path: Path) -> None:
    values = np.repeat(np.arange(5), [100, 50, 10, 3, 1])
    rows = finetune.labelled_part(values, 10, "train")
    assert np.bincount(values[rows]).tolist() == [10, 5, 1, 1, 1]
    assert (rows == finetune.labelled_part(values, 10, "train")).all() and (np.diff(rows) > 0).all()
    assert set(rows) != set(finetune.labelled_part(values, 10, "val"))
    assert len(finetune.labelled_part(np.zeros((40, 3), dtype=np.int8), 50, "train")) == 20
    told = run(tmp_path, "50pct+recipe=quick+steps=4+batch=8").hyperparameters
    # 10 pictures of each class in train, 5 in val: half of them, rounded to even.
    assert told["pictures"] == {"train": 20, "val": 8}


def test_several_seeds_are_averaged_and_their_spread_is_told(tuned: Sets, tmp_path: Path) -> None:
    from sslbench.results.runs import Run

    results = Run(tmp_path / "results")
    record = run(tmp_path, "recipe=quick+steps=6+batch=16+seeds=3", results=results)
    assert record.samples is not None
    samples = load_file(next((tmp_path / "results").rglob("*.safetensors")))
    targets = samples["targets"]
    right = [(samples[f"decision_seed{seed}"].argmax(1) == targets).double().mean() for seed in range(3)]
    each = [100 * float(share) for share in right]
    assert record.scores["top1"]["value"] == pytest.approx(np.mean(each))
    spread = record.scores["top1_seed_sd"]
    assert spread["value"] == pytest.approx(np.std(each, ddof=1)) and spread["n"] == 3
    assert spread["stderr"] == pytest.approx(spread["value"] / 2)
    assert record.paired["kind"] == "resamples"
    one = run(tmp_path, "recipe=quick+steps=6+batch=16")
    assert one.scores["top1"]["value"] == pytest.approx(each[0], abs=100) and one.paired["kind"] == "correct"


def test_halving_and_bfloat16_run_and_several_labels_are_scored(registries: Registries, tmp_path: Path) -> None:
    Sets("sets", several=True)
    record = run(tmp_path, "recipe=quick+search=halving+steps=16+batch=16", dataset="sets")
    assert record.main_score == "voc_map11"
    assert [row["steps"] for row in record.hyperparameters["trials"]] == [1, 1, 1, 1, 4, 16]
    plain = run(tmp_path, "recipe=quick+steps=4+batch=16", dataset="sets")
    half = run(tmp_path, "recipe=quick+steps=4+batch=16+precision=bfloat16", dataset="sets")
    assert half.scores["voc_map11"]["value"] == pytest.approx(plain.scores["voc_map11"]["value"], abs=25)


class Tracked(nn.Module):
    """Without BatchNorm; the memory suffices for `most` pictures."""

    input_size = SIZE

    def __init__(self, most: int, *, norm: bool) -> None:
        super().__init__()
        self.inner, self.most = Small(norm=norm), most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.inner(images)  # type: ignore[no-any-return]


def test_a_batch_too_large_for_the_device_is_computed_in_parts_with_the_same_result() -> None:
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 0.0, "steps": 6, "seed": 0}
    whole, parts = (
        setting(network=Tracked(most, norm=False)).trained(train_set, given, "search", None, silent())
        for most in (16, 5)
    )
    theirs = whole.state_dict()
    for name, tensor in parts.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(DeviceError, match="cannot be computed in parts: BatchNorm needs all of it"):
        setting(network=Tracked(5, norm=True)).trained(train_set, given, "search", None, silent())
    with pytest.raises(DeviceError, match="one item is too much already"):
        setting(network=Tracked(0, norm=False)).trained(train_set, given, "search", None, silent())


def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_finetune_training, "CHECKPOINT_SECONDS", 0.0)
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 1e-4, "steps": 27, "seed": 0}
    whole = setting().trained(train_set, given, "search", None, silent()).state_dict()
    batch = Learner.batch

    def stop(self: Learner, step: Step) -> object:
        if step.number == 23:
            raise KeyboardInterrupt
        return batch(self, step)

    monkeypatch.setattr(Learner, "batch", stop)
    with pytest.raises(KeyboardInterrupt):
        setting().trained(train_set, given, "search", tmp_path, silent())
    monkeypatch.setattr(Learner, "batch", batch)
    resumed = setting().trained(train_set, given, "search", tmp_path, silent()).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert [path.name for path in tmp_path.glob("*.pt*")] == ["state.pt"]
    with pytest.raises(
        TrainingError, match=r"was begun with rate 0\.05, not 0\.1; .*Go on with what it had, or remove it"
    ):
        setting().trained(train_set, {**given, "rate": 0.1}, "search", tmp_path, silent())
    monkeypatch.setattr(_finetune_training, "_device_name", lambda device: "NVIDIA H100")
    with pytest.raises(TrainingError, match="was begun with device 'cpu', not 'NVIDIA H100'"):
        setting().trained(train_set, given, "search", tmp_path, silent())


def weights_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "trials").glob("*.safetensors")}


def test_a_killed_case_goes_on_in_the_middle_of_a_trial_and_ends_as_an_undisturbed_one(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_finetune_training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed = run(tmp_path / "whole", tuning.LONG)
    command = [sys.executable, "-m", tuning.__name__, str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = sorted(path.suffix for path in (tmp_path / "killed/trials").glob("*.json"))
    assert left == [".json"] * 2
    steps: list[int] = []
    batch = Learner.batch

    def noted(self: Learner, step: Step) -> object:
        steps.append(step.number)
        return batch(self, step)

    monkeypatch.setattr(Learner, "batch", noted)
    resumed = run(tmp_path / "killed", tuning.LONG)
    # The third of four trainings goes on at its last checkpoint, one more and the last one are whole.
    assert steps == [*range(10, 15), *range(15), *range(15)]
    assert (resumed.scores, resumed.hyperparameters, resumed.paired) == (
        undisturbed.scores, undisturbed.hyperparameters, undisturbed.paired,
    )  # fmt: skip
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "whole")
    assert not [path for path in (tmp_path / "killed/trials").iterdir() if path.is_dir()]


def test_what_cannot_be_trained_on_is_told_before_a_picture_is_taken(tuned: Sets, tmp_path: Path) -> None:
    tuned.labels["train"] = np.zeros(40, dtype=np.int64)
    with pytest.raises(DataError, match="the training split has no image with the classes '1', '2', '3'"):
        run(tmp_path)


def test_fewer_pictures_than_a_batch_are_refused_with_batchnorm_alone(tuned: Sets, tmp_path: Path) -> None:
    tuned.sizes["train"] = 20
    with pytest.raises(
        DataError, match=r"20 training pictures are fewer than one batch of 32, and BatchNorm .*batch=10"
    ):
        run(tmp_path, "recipe=quick+steps=2")
    plain = backbone(Small(norm=False), "plain")
    assert run(tmp_path, "recipe=quick+steps=2", network=plain).hyperparameters["batch"] == 20


class Odd(nn.Module):
    """Trained by nobody, for one of several reasons."""

    input_size = SIZE

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why
        self.weight = nn.Parameter(torch.ones(5, 3)) if why != "no parameters" else None
        self.norm = nn.BatchNorm1d(5) if why == "single" else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        if self.weight is None:
            return means.repeat(1, 2)
        if self.training and self.why == "only frozen":
            raise RuntimeError("this graph was exported for inference")
        out = self.norm(means @ self.weight.T)
        return out.detach() if self.why == "detached" else out


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("no parameters", "odd has no parameters to train"),
        ("only frozen", r"a training step on 2 pictures fails \(RuntimeError: this graph was exported.*evaluate it frozen"),
        ("detached", "no gradient reaches the network, so that only the classifier would be trained"),
        ("single", r"a training step on 1 picture fails .*single picture, which BatchNorm cannot take.*finetune-last-batch=drop"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_trained_is_refused(why: str, message: str, tuned: Sets, tmp_path: Path) -> None:
    tuned.sizes["train"] = 33
    with pytest.raises(BackboneError, match=message):
        run(tmp_path, network=backbone(Odd(why), "odd"))
    assert not list(tmp_path.glob("trials/*.json"))
    if why == "single":
        dropped = run(tmp_path, network=backbone(Odd(why), "odd"), compat={"finetune-last-batch": "drop"})
        assert dropped.main.n == 40


def test_the_studys_grid() -> None:
    assert (STUDY.steps, STUDY.batch, STUDY.optimiser) == (5000, 64, "sgd")
    assert len(STUDY.rates) * len(STUDY.decays) == 20
    assert list(STUDY.rates) == sorted(STUDY.rates, reverse=True)


def test_a_bar_tells_which_training_it_is_its_loss_and_the_best_so_far() -> None:
    moved: list[int] = []
    told: list[str] = []
    bar = GridBar(moved.append, told.append, 3)
    watch = bar.watch(10, "val_score")
    watch({}, trial(40.0))  # kept from an earlier run
    bar.begin("rate 0.1")
    bar.advance(4, None)
    bar.advance(0, 1.25)
    watch({}, trial(None, 5))
    bar.begin("rate 0.01")
    bar.advance(10, 0.5)
    watch({}, trial(60.0))
    assert sum(moved) == 30
    assert told[-1] == "3/3 rate 0.01, loss 0.5, best on val 40.00"
