"""What jobs do in the tests of engines: workers import it by name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def echo(argument: Any) -> Any:
    return argument


def array(size: int) -> npt.NDArray[np.float32]:
    return np.arange(size, dtype=np.float32)


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def note(argument: tuple[str, str, float]) -> str:
    """Append a word to a file, then sleep."""
    path, word, seconds = argument
    with Path(path).open("a") as file:
        file.write(f"{word}\n")
    time.sleep(seconds)
    return word


def threads(_argument: None) -> tuple[str, int]:
    import torch

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()


def talk(words: str) -> str:
    print(words)
    print(words, file=sys.stderr)
    os.write(1, words.encode())
    return words


def die(number: int) -> None:
    """Say something, and be killed by a signal."""
    print("last words")
    sys.stdout.flush()
    # It has to be known by then where this ran.
    time.sleep(1.0)
    if number == signal.SIGSEGV:
        ctypes.string_at(0)
    os.kill(os.getpid(), number)


def survive(number: int) -> str:
    """Be told to end by a signal, and answer all the same what the interpreter makes an exception of."""
    try:
        time.sleep(0.5)
        os.kill(os.getpid(), number)
        time.sleep(60)
    except (Exception, SystemExit) as error:  # noqa: BLE001 as whoever runs a user's code
        return repr(error)
    return "nothing"


def fail(text: str) -> None:
    raise ValueError(text)


def tell_and_sleep(argument: tuple[str, float]) -> None:
    """Write this process's number to a file, then sleep."""
    path, seconds = argument
    Path(path).write_text(f"{os.getpid()}\n")
    time.sleep(seconds)


def gpus(_argument: None) -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()
