"""A process of a bundle beside others, that runs the members it is given, one after the other."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from sslbench.engine.base import Loss
from sslbench.engine.member import end_of_log, marker, run_member, set_up_process, write_loss

MODULE = "sslbench.engine.worker_process"
_END_SECONDS = 5.0


class WorkerProcess:
    """Such a process, seen by the bundle's; it is started when there is something to run, and again after its death.

    log: the file in `folder` that takes what it writes. key: the member that it is at, empty for none. pipe: has something to
    read when that ends.
    """

    pipe: Connection

    def __init__(self, folder: Path, log: str) -> None:
        self._folder, self._log = folder, log
        self._process: subprocess.Popen[bytes] | None = None
        self.key = ""

    def _start(self) -> None:
        self.pipe, theirs = Pipe()
        # The folder is on its command line, by which `ProcessCluster` finds it.
        command = [
            sys.executable,
            "-u",
            "-m",
            MODULE,
            str(self._folder),
            self._log,
            str(theirs.fileno()),
            str(os.getpid()),
        ]
        with theirs, (self._folder / self._log).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=[theirs.fileno()]
            )

    def give(self, key: str, content: bytes) -> None:
        """Have it run a member."""
        print(f"{marker(key)}: its log is {self._log}", file=sys.stderr, flush=True)
        if self._process is None:
            self._start()
        self.key = key
        # One that has died meanwhile has closed its end, as the next look at it shows.
        with contextlib.suppress(OSError):
            self.pipe.send((key, content))

    def is_free(self) -> bool:
        """Whether its member has ended, one way or another; the loss of one whose process died is written."""
        assert self._process is not None
        try:
            if self.pipe.poll():
                self.pipe.recv()
                self.key = ""
                return True
            # A process that it has started may hold the pipe open.
            if self._process.poll() is None:
                return False
        except (EOFError, OSError):
            pass
        status = self.join()
        why = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        loss = Loss("worker", f"its process {why}", end_of_log(self._folder / self._log, self.key))
        write_loss(self._folder, self.key, loss)
        self.pipe.close()
        self._process, self.key = None, ""
        return True

    def stop(self) -> None:
        """Have it end: now where it is at a member, which is then without its end."""
        if self._process is None:
            return
        if self.key:
            self._process.terminate()
        self.pipe.close()

    def join(self) -> int:
        """Wait until it is gone, for some seconds with patience. Returns its exit status, as `subprocess` has it."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _die_with(parent: int) -> None:
    """Be killed when the bundle's process dies, by whatever: nobody would end this one, or know of it."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the process of the bundle is gone")


def main(folder: str, log: str, pipe: str, parent: str) -> None:
    """Run members until the other end of the pipe is closed."""
    set_up_process()
    _die_with(int(parent))
    with Connection(int(pipe)) as orders:
        while True:
            try:
                key, content = orders.recv()
            except EOFError:
                return
            run_member(Path(folder), key, content, log)
            gc.collect()
            if (torch := sys.modules.get("torch")) is not None:
                # What it keeps for later its neighbours on the GPU do not have.
                torch.cuda.empty_cache()
            orders.send(key)


if __name__ == "__main__":
    main(*sys.argv[1:])
