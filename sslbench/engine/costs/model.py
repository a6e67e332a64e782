"""How long the work of a case takes where nothing was measured."""

from __future__ import annotations

from sslbench.compat import concerning
from sslbench.config import Settings
from sslbench.datasets import dataset_spec
from sslbench.engine.costs.devices import PIXELS_PER_SECOND, Device
from sslbench.engine.costs.networks import network_of
from sslbench.engine.costs.pictures import pictures_of
from sslbench.engine.costs.work import Training, Work, work_of
from sslbench.errors import SslbenchError
from sslbench.tasks import Task, parse_task


def own_seconds(work: Work, device: Device) -> float:
    """Modelled seconds of a case without extraction."""
    steps = sum(training.steps for training in work.trainings) + work.batches
    macs = sum(training.macs for training in work.trainings) + work.macs
    read = work.decoded * work.pixels / _pixels(device) if work.originals else 0.0
    return 2 * macs / device.rate + steps * device.step_seconds + read


def extract_seconds(work: Work, device: Device) -> float:
    """Modelled seconds of extraction: pictures are decoded while the network runs, and the slower one counts."""
    return max(2 * work.extract_macs / device.rate, work.extracted * work.pixels / _pixels(device))


def training_seconds(training: Training, device: Device) -> float:
    """Modelled seconds of one training."""
    return 2 * training.macs / device.rate + training.steps * device.step_seconds


def geometry(task: Task, settings: Settings) -> str:
    """Which of the ways to show a picture a task takes, where a study has one of its own."""
    switches = concerning(task.protocol, task.dataset, dataset_spec(task.dataset).compat)
    official = "fewshot-geometry" in switches and settings.choice("fewshot-geometry") == "official"
    return "fewshot" if official and task.protocol == "fewshot" else "own"


def work_of_case(case: str, settings: Settings) -> Work | str:
    """The work behind a case's name `BACKBONE|TASK`, or why it is not known."""
    backbone, _, name = case.partition("|")
    try:
        task = parse_task(name)
    except SslbenchError as error:
        return str(error)
    network, pictures = network_of(backbone), pictures_of(task.dataset, settings)
    if isinstance(network, str) or isinstance(pictures, str):
        return network if isinstance(network, str) else str(pictures)
    return work_of(task, network, pictures, geometry(task, settings))


def _pixels(device: Device) -> float:
    return PIXELS_PER_SECOND * device.decoders
