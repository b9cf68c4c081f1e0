"""Reaching a Ray cluster: that at an address, or one on this machine that ends with the run."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from harness.hardware import usable_cpus
from tasks.errors import BadInput, RunStopped

CONNECT_S = 10.0
"""How long the address of a cluster may take to answer."""
OBJECT_STORE_BYTES = 128 * 2**20
"""Of a cluster on this machine: what goes to and fro are texts."""


def connect(given: str | None) -> bool:
    """Connect to the cluster at an address, else that of RAY_ADDRESS, else one on this machine; whether it is new.

    A connection that is there already is used, and not the caller's to end.

    Raises:
        BadInput: this is no address.
        RunStopped: nobody answers there.
    """
    import ray

    address = given or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_silent(address)
    _keep_off_stdout()
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it Ray says at each start that it will change a variable which it should leave alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray says what it does with SIGTERM; that is ours to say.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {
            "include_dashboard": False, "num_cpus": usable_cpus(), "object_store_memory": OBJECT_STORE_BYTES,
        }  # fmt: skip
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise RunStopped(
            f"no Ray cluster at {address}: {' '.join(str(error).split())[:300]}; check --ray-address, or leave it "
            "out for one on this machine"
        ) from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
    return True


def _keep_off_stdout() -> None:
    """Ray prints on stdout that a worker died; what is printed there is for programs, and we say it ourselves."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def _refuse_silent(address: str) -> None:
    """Ray itself takes minutes to find out that nobody listens at an address."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        if address in ("local", "auto"):
            return
        raise BadInput(f"--ray-address takes HOST:PORT, ray://HOST:PORT, auto or local, not {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise RunStopped(
            f"no Ray cluster at {address}: {getattr(error, 'strerror', None) or error}; check --ray-address and that "
            "ray start --head runs there; the same command goes on"
        ) from None
