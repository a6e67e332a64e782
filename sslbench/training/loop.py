"""The training loop: seeded, logged, and resumable after an interrupt with the same result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from sslbench.errors import DeviceError, DivergedError, TrainingError
from sslbench.training.state import State

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from torch import device as Device
    from torch.optim import Optimizer

Line = dict[str, Any]
# Seeds of two trainings are this far apart. A greater distance would not help: torch's CPU generator takes 32 bits of a seed.
_STRIDE = 100_003


@dataclass(frozen=True)
class Plan:
    """How long, and where it can be interrupted.

    steps: updates of the weights. checkpoint_every: steps between two checkpoints, with a line of the log each; the end is one
    too. seed, reseed_every: everything random comes from the seed and the number of the step, or of the group of
    `reseed_every` steps that a step belongs to; an epoch, where its order and its views come from one generator.

    Raises TrainingError for numbers that give no training or none that could go on.
    """

    steps: int
    checkpoint_every: int
    seed: int = 0
    reseed_every: int = 1

    def __post_init__(self) -> None:
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "reseed_every": (
                self.reseed_every >= 1 and self.steps // self.reseed_every < _STRIDE - 1,
                f"at least 1, and so many that there are fewer than {_STRIDE - 1} groups",
            ),
            "checkpoint_every": (
                self.checkpoint_every >= 1 and self.checkpoint_every % max(1, self.reseed_every) == 0,
                f"a positive multiple of reseed_every ({self.reseed_every})",
            ),
            "seed": (self.seed >= 0, "not a negative number"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected {expected}")

    def seed_at(self, step: int) -> int:
        """The seed of the group that a step begins or belongs to."""
        return self.seed * _STRIDE + step // self.reseed_every + 1

    def progress(self, step: int) -> float:
        """0 at the first step, 1 after the last."""
        # Whole groups and the rest apart: one quotient rounds otherwise, and the zoo's weights are made of this one.
        within = step % self.reseed_every
        return (step - within) / self.steps + within / self.steps


class Step(NamedTuple):
    """One update. number: from 0. progress: 0 to 1. generator: on the model's device, to draw everything from; seeded, as
    torch's global one is.
    """

    number: int
    progress: float
    generator: Generator


class Learner(Protocol):
    """What is trained: a model on its device, an optimiser at its base rates, and where its loss comes from.

    A resumed training has the model's parameters and buffers, and the optimiser's state. What a learner computes with besides
    must follow from the step, or from what is drawn since the generator was seeded.
    """

    @property
    def model(self) -> nn.Module:
        """All that is kept between steps. The loop puts it into training mode, so a frozen part does not belong into it."""

    @property
    def optimiser(self) -> Optimizer:
        """Of the model's parameters; each group's rate is its base rate."""

    def batch(self, step: Step) -> Any:
        """What `loss` takes: pictures drawn and augmented, in full precision. Called once a step, in order."""

    def loss(self, batch: Any) -> Tensor:
        """A scalar; computed in bfloat16 where CUDA's autocast says so."""


@runtime_checkable
class Divisible(Protocol):
    """A learner whose batch may be computed in parts, one after the other, where the device has no memory for all of it."""

    def divide(self, batch: Any, parts: int) -> Sequence[tuple[float, Any]] | None:
        """At most so many parts, each with its share of the whole: the sum of share times loss is the loss of the batch.

        None where that cannot be, as with BatchNorm's statistics of a whole batch, or where a part would be less than an item.
        """


def train(
    learner: Learner,
    plan: Plan,
    *,
    schedule: Callable[[float], float],
    begun_with: Mapping[str, Any],
    folder: Path | None = None,
    bfloat16: bool = True,
    observe: Callable[[Line], Line] = lambda line: line,
    say: Callable[[str], None] = lambda text: None,
    save_seconds: float = 0.0,
    advance: Callable[[int, float | None], None] | None = None,
) -> list[Line]:
    """Train the steps that are missing and return the log; the model ends with the same bits, interrupted or not.

    schedule: from progress to the factor of each group's rate. begun_with: what else the result depends on, as plain data.
    folder: where the state is kept, None for nowhere; one process at a time. bfloat16: autocast of the loss on CUDA; a CPU
    computes in float32. observe: makes a line of the log of `step` (how many are done), `loss` (mean since the line before)
    and `seconds`, and may use the model in evaluation mode. say: gets each line as text. save_seconds: the state is written
    at a checkpoint only when so long has passed since it was last, or at the end. advance: told of steps done and, with a
    line, of its loss, where the caller has a bar of its own.

    A training goes on with the number of threads that it was begun with. The same bits need the same device besides, and on
    CUDA operations that are deterministic there: cuDNN is told to be, the backward passes of some resamplings are not.
    torch's global generator is left as it was. Raises DivergedError when the loss or a weight is not finite, TrainingError
    for a state in `folder` that belongs to something else, and DeviceError where the device has no memory for a batch that
    cannot be divided (see `Divisible`).
    """
    import torch
    from tqdm import tqdm

    model, optimiser = learner.model, learner.optimiser
    generator = torch.Generator(next(model.parameters()).device)
    rates = [group["lr"] for group in optimiser.param_groups]
    done, log = 0, list[Line]()
    if folder is not None:
        plan_facts = {"steps": plan.steps, "seed": plan.seed, "reseed_every": plan.reseed_every}
        state = State(folder, {**begun_with, **plan_facts, "optimiser": type(optimiser).__name__})
        done, log = state.restore(model, optimiser)
    parts, saved = state.parts if folder is not None else 1, time.monotonic()
    # disable=None: no bar where stderr is no terminal.
    no_bar = None if advance is None else True
    with (
        _repeatable(generator.device),
        _threads(state.threads if folder is not None and done else None),
        tqdm(total=plan.steps, initial=done, unit="step", leave=False, disable=no_bar) as bar,
    ):
        if advance is not None:
            advance(done, None)
        while done < plan.steps:
            start, losses = time.perf_counter(), []
            model.train()
            for number in range(done, min(done + plan.checkpoint_every, plan.steps)):
                if number % plan.reseed_every == 0:
                    _seed(plan.seed_at(number), generator.device)
                    generator.manual_seed(plan.seed_at(number))
                step = Step(number, plan.progress(number), generator)
                for group, rate in zip(optimiser.param_groups, rates, strict=True):
                    group["lr"] = rate * schedule(step.progress)
                loss, parts = _update(learner, step, parts, plan.seed_at(number), bfloat16=bfloat16)
                losses.append(loss)
                bar.update()
                if advance is not None:
                    advance(1, None)
            mean = _mean(losses, done, model)
            done += len(losses)
            line = observe({"step": done, "loss": mean, "seconds": time.perf_counter() - start})
            log.append(line)
            if advance is not None:
                advance(0, mean)
            if folder is not None and (done == plan.steps or time.monotonic() - saved >= save_seconds):
                state.parts = parts
                state.write(done, log, model, optimiser)
                saved = time.monotonic()
            with bar.external_write_mode():
                say("  ".join(f"{name} {value:.5g}" for name, value in line.items()))
    return log


def _update(learner: Learner, step: Step, parts: int, seed: int, *, bfloat16: bool) -> tuple[Tensor, int]:
    """One step, its loss, and in how many parts its batch was computed: twice as many whenever the memory did not suffice."""
    import torch

    batch = learner.batch(step)
    shares: Sequence[tuple[float, Any]] = [(1.0, batch)] if parts == 1 else _divided(learner, batch, parts)
    while True:
        learner.optimiser.zero_grad()
        try:
            loss = sum((_backward(learner, step, *part, bfloat16=bfloat16) for part in shares), torch.zeros(()))
            break
        except torch.cuda.OutOfMemoryError:
            parts *= 2
        # Outside of the handler, whose traceback would hold on to the memory.
        learner.optimiser.zero_grad()
        torch.cuda.empty_cache()
        _seed(seed, step.generator.device)
        shares = _divided(learner, batch, parts)
    learner.optimiser.step()
    return loss, parts


def _backward(learner: Learner, step: Step, share: float, batch: Any, *, bfloat16: bool) -> Tensor:
    import torch

    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bfloat16 and step.generator.device.type == "cuda"):
        loss = learner.loss(batch)
        if share != 1:
            loss = loss * share
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _divided(learner: Learner, batch: Any, parts: int) -> Sequence[tuple[float, Any]]:
    shares = learner.divide(batch, parts) if isinstance(learner, Divisible) else None
    if shares is None:
        raise DeviceError(
            "the device has not enough memory for a batch, which cannot be computed in parts: BatchNorm needs all of it at "
            "once, or one item is too much already; take a smaller batch, smaller pictures or another device"
        )
    return shares


def _mean(losses: list[Tensor], done: int, model: nn.Module) -> float:
    """The mean loss of the steps after the first `done`. Looked at here only, since a look waits for the device."""
    import torch

    finite = torch.stack(losses).isfinite()
    if not bool(finite.all()):
        place = int(finite.logical_not().nonzero()[0])
        step = done + place + 1
        raise DivergedError(f"the loss of step {step} is {float(losses[place])}; lower the learning rate", step)
    weights = [weight.isfinite().all() for weight in model.parameters() if weight.requires_grad]
    if not bool(torch.stack(weights).all()):
        step = done + len(losses)
        raise DivergedError(f"a weight is not finite after step {step}; lower the learning rate", step)
    return float(sum(losses, torch.zeros_like(losses[0]))) / len(losses)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """With as many as the training was begun with, if it was: another number adds in another order."""
    import torch

    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seed(seed: int, device: Device) -> None:
    """torch's global generators, of the CPU and of the model's device; `torch.manual_seed` would take those of all GPUs."""
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def _repeatable(device: Device) -> Iterator[None]:
    """cuDNN by kernels that give the same bits each time, of which it chooses the same each time; random numbers put back."""
    import torch
    from torch.backends import cudnn

    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        # By default those of all GPUs: each would be opened, by a training on the CPU too, and their number be warned of.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
