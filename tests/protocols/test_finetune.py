"""Fine-tuning: the study's way step for step, and what is chosen and recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sslbench.errors import TrainingError
from sslbench.protocols import _finetune_options, _finetune_training, finetune
from sslbench.protocols._finetune_options import STUDY
from sslbench.protocols._finetune_training import Learner, training_set
from sslbench.training.loop import Step
from sslbench.training.trial_result import TrialResult
from tests.protocols.tuning import Sets, backbone, part, run, setting, silent, trial

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("decay_switch", ["over-rate", "plain"])
@pytest.mark.parametrize("decayed", ["all", "weights"])
def test_a_training_is_torchs_own_sgd_with_a_cosine_on_the_same_batches(decay_switch: str, decayed: str) -> None:
    """By hand: torch's plain SGD and its CosineAnnealingLR, stepped each update, on batches that the learner draws."""
    shared = setting(**{"finetune-weight-decay": decay_switch, "finetune-decayed": decayed})
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 0.01, "steps": 9, "seed": 0}
    ours, _ = shared.trained(train_set, given, "search", None, silent())

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
    monkeypatch.setattr(_finetune_training, "trained", None)
    again = run(tmp_path / "a")
    assert (again.scores, again.hyperparameters) == (first.scores, first.hyperparameters)


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


def test_the_studys_grid() -> None:
    assert (STUDY.steps, STUDY.batch, STUDY.optimiser, STUDY.warmup, STUDY.layer_decay) == (5000, 64, "sgd", 0, None)
    assert STUDY.rates == (0.1, 0.01, 0.001, 1e-4) and STUDY.decays == (0, 1e-6, 1e-5, 1e-4, 1e-3)


def test_nothing_judged_is_no_loss() -> None:
    several = training_set(part(4, several=True), np.arange(4), 64)
    shared = setting(batch=4)
    learner = shared.learner(several, {"rate": 0.1, "decay": 0.0}, seed=0)
    images, targets = learner.batch(Step(0, 0.0, torch.Generator()))
    assert float(learner.loss((images, torch.full_like(targets, -1)))) == 0
