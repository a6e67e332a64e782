"""How this process comes to a Ray cluster, and how it notices that the head is gone."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from sslbench.errors import EngineError

# How long a cluster may take to answer, with the start of the Python process that asks it, which on a busy machine is slow.
_REACH_SECONDS = 60.0
# Ray ends a process whose head has been gone for a minute, without another word; ours says so before.
_HEAD_SECONDS = 40.0
# Objects of a cluster that is started here: arguments and answers that are under way; what is more goes to disk.
_STORE_BYTES = 256 << 20


class Connection:
    """This process's connection to a cluster: the one that is there, or one of its own.

    address: `auto`, `local`, HOST:PORT, or empty for Ray's own default. Raises EngineError where Ray is not installed, cannot be
    reached or has another version.
    """

    def __init__(self, address: str) -> None:
        self._undo, self.own = contextlib.ExitStack(), False
        self._gone_since: float | None = None
        self._connect(address)
        import ray

        self._head = ray.get_runtime_context().gcs_address

    def _connect(self, address: str) -> None:
        if importlib.util.find_spec("ray") is None:
            raise EngineError('the engine ray needs Ray, which is not installed: pip install "sslbench[ray]"')
        # Read when Ray is imported; it tells its makers of every cluster otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if ray.is_initialized():
            if ray.util.client.ray.is_connected():
                raise EngineError(
                    "this process is connected to Ray by Ray's client already, by which jobs cannot be followed"
                )
            return
        address = address or os.environ.get("RAY_ADDRESS", "") or "auto"
        if address.startswith("ray://"):
            raise EngineError(
                f"{address} is an address of Ray's client, by which jobs cannot be followed; run pytest on a machine of "
                "the cluster, by `ray job submit -- python -m pytest ...` from afar, with address=auto or HOST:PORT of the head"
            )
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if address == "local":
            quiet |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        else:
            _reach(address)
        self._undo.enter_context(_hushed())
        try:
            ray.init(address=address, **quiet)
        except Exception as error:  # a machine that starts too slowly is a bare one
            # What a refused cluster leaves behind would answer for the next one: its list of machines, for one.
            ray.shutdown()
            self._undo.close()
            if not isinstance(error, RuntimeError) or "ersion" not in str(error):
                raise EngineError(f"the Ray cluster at {address} takes no connection: {line(error)}") from error
            raise EngineError(
                f"the Ray cluster at {address} has another Ray or Python than this process, which needs the same ones: "
                f"{line(error)}"
            ) from error
        self.own = True

    @property
    def headless(self) -> bool:
        """Whether the head did not answer when it was last asked."""
        return self._gone_since is not None

    def head_answers(self) -> bool:
        """Whether the head is there; asked by hand, since Ray's own calls wait for one that is not.

        Raises EngineError when it has been gone for a while.
        """
        host, _, port = self._head.rpartition(":")
        now = time.monotonic()
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except OSError as error:
            self._gone_since = self._gone_since or now
            if now - self._gone_since > _HEAD_SECONDS:
                raise EngineError(
                    f"the head of the Ray cluster at {self._head} is gone; start it again, and this command"
                ) from error
            return False
        self._gone_since = None
        return True

    def close(self) -> None:
        """Leave the cluster where this is a connection of its own, or end it where it was started here."""
        import ray

        if self.own:
            # Ray kills what a process that left had asked for.
            ray.shutdown()
        self._undo.close()


def line(error: BaseException) -> str:
    """What an exception says, on one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else f"{text[:500]}..."


def _reach(address: str) -> None:
    """Raise EngineError where no Ray answers: `ray.init` itself tries for minutes."""
    host, _, port = address.rpartition(":")
    advice = (
        "start one (`ray start --head`), give its head's address, HOST:PORT, or address=local for one on this machine"
    )
    if address != "auto":
        if not (host and port.isdigit()):
            raise EngineError(f"expected auto, local or HOST:PORT for the address of a Ray cluster, got {address!r}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except (OSError, OverflowError) as error:
            raise EngineError(f"no Ray cluster at {address} ({error}): {advice}") from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *(["--address", address] if host else [])]
    try:
        told = subprocess.run(command, capture_output=True, timeout=_REACH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"what listens at {address} does not answer as a Ray cluster does within {_REACH_SECONDS:.0f} s: {advice}"
        ) from error
    if told.returncode:
        raise EngineError(
            f"no Ray cluster runs here that {address} could mean: {advice}"
            if not host
            else f"no healthy Ray cluster at {address}: {advice}"
        )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what Ray prints to the terminal of every lost process, twenty lines each, whatever one asks of its logs.

    There is no setting for it (Ray 2.60, `listen_error_messages`), so the function that prints is replaced where it is found.
    """
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    if before is None:
        yield
        return
    worker.print_to_stdstream = lambda *_arguments, **_options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before
