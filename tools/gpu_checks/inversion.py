"""Steps of an inversion beside those that one would write, and beside the CPU's."""

from __future__ import annotations

from compare_inversion import learners_of, step
from training_steps import parts, rates

from gpu_checks.bench import Bench, Found
from gpu_checks.steps import AIM, APART, SMALL, STEPS, different_tensors
from sslbench.protocols._inversion_training import InversionLearner
from sslbench.training.loop import Plan, train


def inversion(bench: Bench, found: Found) -> None:
    """The study's recipe through a ResNet-50: steps of the loop, bare ones, and the deep image prior layer by layer."""
    name, recipe, steps = (SMALL, "quick", 2) if bench.small else ("random-init:resnet50", "study", 50)

    def learners(device: str) -> tuple[InversionLearner, InversionLearner]:
        ways = learners_of(name, recipe, device)
        return ways["as shipped"], ways["plain loop"]

    ours, plain = learners(bench.device)
    again, _ = learners(bench.device)
    first, usual, cpu = (float(step(each)) for each in (ours, plain, learners("cpu")[0]))
    step(again)
    for what, loss in (("the CPU's", cpu), ("the plain loop's", usual)):
        found.row(f"first loss from {what}", "%", [100 * abs(first / loss - 1)])
        found.expect(abs(first / loss - 1) <= APART, f"the first loss is {first}, {what} {loss}")
    for learner in (ours, again):
        train(learner, Plan(STEPS, STEPS), schedule=lambda progress: 1.0, begun_with={}, bfloat16=False)
    differ = different_tensors(ours.model, again.model)
    found.row(f"tensors that differ after {STEPS} steps, twice", "1", [len(differ)])
    found.expect(not differ, f"{len(differ)} tensors differ between two inversions, such as {', '.join(differ[:3])}")

    def plain_steps() -> None:
        for _ in range(steps):
            step(plain)

    found.memory("peak memory", bench, parts(ours, 2)["whole step"])
    every: dict[str, list[float]] = {}
    for _ in bench.rounds():
        for what, value in rates(ours, 1, steps, bench.seconds).items():
            if what != "batches alone":
                every.setdefault(what, []).append(value)
        every.setdefault("plain loop", []).append(steps / bench.seconds(plain_steps))
    for what, values in every.items():
        found.row(what, "steps/s", values)
    share = found.ratio("whole step / bare step", every["whole step"], every["bare step"])
    found.bar("inversion, whole step / bare step", "x", share, at_least=AIM)
    found.ratio("whole step / plain loop", every["whole step"], every["plain loop"])
