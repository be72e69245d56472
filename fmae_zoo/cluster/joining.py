"""Joining a Ray cluster, or starting Ray on this machine alone."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fmae_zoo.errors import ArgumentError
from fmae_zoo.extras import needed

TIMEOUT = 5.0
"""Seconds to wait for a cluster's answer; Ray itself would wait for minutes."""


@contextmanager
def joined(address: str | None = None) -> Iterator[Any]:
    """Join a Ray cluster in the block, and yield Ray's module.

    If this process has joined a cluster already, the block uses that one and does not leave it.

    Args:
        address: `host:port` of a cluster that this machine belongs to, or `auto` to find it. None
            starts Ray on this machine, and ends it after the block.

    Raises:
        ArgumentError: Ray is not installed, or no cluster can be joined at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers.
    ray = needed("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    if address not in (None, "auto"):
        _check_address(str(address))
    options: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise ArgumentError(f"Ray cannot be used {where}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    if address.startswith("ray://"):
        raise ArgumentError(
            f"The address is {address}: Ray's client passes on no results of a running task. Run "
            "the command on a machine of the cluster, with the address auto, or by `ray job submit`"
        )
    found = re.fullmatch(r"\[?([^\[\]/]+)\]?:(\d{1,5})", address)
    if found is None:
        raise ArgumentError(f"The address is {address!r}; expected host:port, or auto")
    try:
        socket.create_connection((found[1], int(found[2])), TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"Nothing answers at the address {address}: {error}") from error


def places(ray: Any, cpus: int, gpus: float) -> int:
    """Return how many tasks of so many CPUs and GPUs the cluster's machines can run at once.

    Raises:
        ArgumentError: No machine has so many.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    count = 0
    for resources in alive:
        fitting = resources.get("CPU", 0) // cpus
        # Not //: in floating point, 1 // 0.2 is 4.
        count += int(min(fitting, resources.get("GPU", 0) / gpus + 1e-9) if gpus else fitting)
    if count:
        return count
    most = [max((each.get(kind, 0) for each in alive), default=0) for kind in ("CPU", "GPU")]
    asked = f"{cpus} CPUs and {gpus:g} GPUs"
    raise ArgumentError(
        f"No machine of the cluster has the {asked} that were asked for each; "
        f"there are at most {most[0]:g} CPUs and {most[1]:g} GPUs in one"
    )
