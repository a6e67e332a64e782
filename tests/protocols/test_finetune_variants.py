"""Fine-tuning beyond the study: last layers, ViTs, parts of the labels, halving, seeds, and how variants are spelt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sslbench.errors import BackboneError
from sslbench.protocols import _finetune_options, _training_run, finetune
from sslbench.protocols._finetune_network import TunedNetwork
from sslbench.protocols._finetune_training import training_set
from sslbench.training.loop import Line, Step
from tests.conftest import Registries
from tests.protocols.tuning import SIZE, Sets, backbone, part, run, setting, silent

pytestmark = pytest.mark.usefixtures("one_thread")


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

    from sslbench.protocols._network_parts import last_groups

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


def test_the_rate_rises_in_the_recipe_for_vits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def noted(learner: object, plan: object, *, schedule: Callable[[float], float], **rest: object) -> list[Line]:
        shapes.append([schedule(progress) for progress in (0.0, 0.05, 0.1, 1.0)])
        return [{"step": 5, "loss": 1.0, "seconds": 1.0}]

    monkeypatch.setattr(_training_run, "train", noted)
    from sslbench.backbones import load_backbone

    pictures = training_set(part(8), np.arange(8), 64)
    for options in ("recipe=vit", ""):
        shared = replace(setting(options), backbone=load_backbone("random-init:zoo:mae"))
        shared.trained(pictures, {"rate": 0.1, "decay": 0.0, "steps": 5, "seed": 0}, "search", None, silent())
    assert shapes[0] == pytest.approx([0, 0.5, 1, 0]) and shapes[1][0] == 1 and shapes[1][2] < 1


class Flat(nn.Module):
    """A norm and a dropout without parameters, before and behind what is trained."""

    input_size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2)
        self.early_norm, self.early_drop = nn.BatchNorm2d(6, affine=False), nn.Dropout(0.5)
        self.last = nn.Conv2d(6, 6, 3, stride=2)
        self.late_drop = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.early_drop(self.early_norm(self.first(images)))
        return self.late_drop(self.last(inner)).mean(dim=(2, 3))  # type: ignore[no-any-return]


def test_what_lies_before_the_last_layers_is_frozen_also_without_parameters() -> None:
    network = setting("last-1", network=Flat()).network(0).train()
    body = network.body
    assert [part.training for part in (body.first, body.early_norm, body.early_drop)] == [False] * 3
    assert body.last.training and body.late_drop.training and not network.whole_batch
    whole = setting("", network=Flat()).network(0).train()
    assert all(part.training for part in whole.modules()) and whole.whole_batch


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
    # Three trainings, not one three times.
    assert not torch.equal(samples["decision_seed0"], samples["decision_seed1"])
    assert not torch.equal(samples["decision_seed1"], samples["decision_seed2"])
    one = run(tmp_path, "recipe=quick+steps=6+batch=16")
    assert one.paired["kind"] == "correct"
    assert record.paired["others"].keys() == one.paired["others"].keys() == {
        "ece", "ace", "mce", "brier", "nll", "ece_scaled", "ece_scaled_val",
    }  # fmt: skip
    temperatures = record.hyperparameters["ece_temperatures"]
    assert temperatures.keys() == one.hyperparameters["ece_temperatures"].keys()
    assert [len(values) for values in temperatures.values()] == [3, 3]


def test_halving_and_bfloat16_run_and_several_labels_are_scored(registries: Registries, tmp_path: Path) -> None:
    Sets("sets", several=True)
    record = run(tmp_path, "recipe=quick+search=halving+steps=16+batch=16", dataset="sets")
    assert record.main_score == "voc_map11"
    assert [row["steps"] for row in record.hyperparameters["trials"]] == [1, 1, 1, 1, 4, 16]
    run(tmp_path, "recipe=quick+steps=4+batch=16+precision=bfloat16", dataset="sets")
    pictures = training_set(part(8), np.arange(8), 64)
    logits = []
    for options in ("", "precision=bfloat16"):
        learner = setting(options, batch=8).learner(pictures, {"rate": 0.1, "decay": 0.0}, seed=0)
        learner.model.eval()
        batch = learner.batch(Step(0, 0.0, torch.Generator()))
        logits.append(float(learner.loss(batch)))
    # The same but for a precision of eight bits.
    assert logits[0] != logits[1] and logits[0] == pytest.approx(logits[1], rel=2e-2)
