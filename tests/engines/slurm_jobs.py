"""What the tests of the engine `slurm` run elsewhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sslbench.files import write_atomic


def double(number):
    return 2 * number


def own_process(_):
    return os.getpid(), str(Path.cwd()), os.environ.get("PYTHONPATH"), os.environ.get("CUDA_VISIBLE_DEVICES")


def die(folder):
    """Killed when it runs for the first time."""
    mark = Path(folder) / "died"
    print("about to die", flush=True)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def wait_for(path):
    """Until the file is there."""
    write_atomic(Path(path).with_suffix(".waits"), str(os.getpid()).encode())
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


def fail(argument):
    raise KeyError(argument)


def meet(argument):
    """Wait until so many of these have begun; `events` has a line for each beginning and each end."""
    folder, count = argument
    with (Path(folder) / "events").open("a") as file:
        file.write("+\n")
        file.flush()
        while (Path(folder) / "events").read_text().count("+") < count:
            time.sleep(0.01)
        file.write("-\n")
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")
