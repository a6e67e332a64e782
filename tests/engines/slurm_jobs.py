"""What the tests of the engine `slurm` run elsewhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


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
    Path(path).with_suffix(".waits").write_text(str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


def fail(argument):
    raise KeyError(argument)
