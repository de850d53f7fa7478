"""What the machine itself has for runs: processor and its limits, memory, disk, descriptors, ports, clock. Looks only."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from harness.check import Check, check
from harness.host import Host
from harness.ports import ephemeral_ports
from harness.wording import bytes_of

__all__ = ["machine_checks"]

_FILES: Final = 4096
_PORTS: Final = 10_000
_FREE_BYTES: Final = 1 << 30
_MEMORY_BYTES: Final = 1 << 30
_SHARED: Final = Path("/dev", "shm")
_SHARED_BYTES: Final = 64 << 20
_RESOLUTION_S: Final = 1e-6
_GOOD_CLOCKS: Final = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})
"""Clock sources of Linux that are read without a system call: each row costs several readings."""

_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "virtiofs", "ceph"})
"""Row files are mapped and shared by processes: over a network that is slow, or not allowed."""


def machine_checks(folder: Path, host: Host) -> Iterator[Check]:
    """In the order in which it matters. `folder` is where run directories would go."""
    yield from _processor(host)
    yield from _memory(host)
    yield from _limits()
    yield _clock(host)
    yield from _disk(folder, host)


def _processor(host: Host) -> Iterator[Check]:
    cores, quota = len(os.sched_getaffinity(0)), host.cpu_quota
    few = "server, load and world share one core: the figures will say more about that than about the server" if cores < 2 else ""
    yield check("cores", f"{cores}", few)
    if quota is not None:
        held = (
            "a group that has used its share is stopped for the rest of each 100 ms, and latencies show that: raise the limit"
            " (docker run --cpus, resources.limits.cpu), or run outside of it"
        )
        yield check("CPU quota", f"{quota:g} of {cores} cores, by the control group", held if quota < cores else "")
    governor = host.governor
    if governor:
        slow = "" if governor == "performance" else "cores at rest wake up slowly: cpupower frequency-set -g performance"
        yield check("CPU governor", governor, slow)
    if host.turbo is not None:
        varies = "a core alone is faster than all of them: compare runs only with like ones, or turn it off" if host.turbo else ""
        # So it is on nearly every machine: something to know, and nothing to warn of.
        yield Check("CPU turbo", "ok", "on" if host.turbo else "off", varies)
    load = os.getloadavg()[0]
    busy = "something else runs here: look at it with top, or the load comes late" if load > cores / 2 else ""
    yield check("load average", f"{load:.2f}", busy)


def _memory(host: Host) -> Iterator[Check]:
    memory = psutil.virtual_memory()
    free, limit = memory.available, host.memory_limit_bytes
    text = f"{bytes_of(free)} free of {bytes_of(memory.total)}"
    if limit is not None:
        text += f", {bytes_of(limit)} allowed by the control group"
    little = "a run takes some 500 MB, and a backlog as much again" if min(free, limit or free) < _MEMORY_BYTES else ""
    yield check("memory", text, little)


def _limits() -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = f"more than {soft - 100} requests at a time will fail: ulimit -n {min(65_536, hard)}" if soft < _FILES else ""
    yield check("open files", f"{soft:,} for each process", few)
    low, high = ephemeral_ports()
    few = "sysctl net.ipv4.ip_local_port_range='10240 60999'" if high - low < _PORTS else ""
    yield check("ports", f"{high - low + 1:,} for connections of the load", few)


def _clock(host: Host) -> Check:
    clock, resolution_s = host.clock, time.get_clock_info("monotonic").resolution
    slow = ""
    if clock and clock not in _GOOD_CLOCKS:
        slow = f"{clock} takes a system call for each reading, and each row several of them"
    elif resolution_s > _RESOLUTION_S:
        slow = f"it counts in steps of {resolution_s * 1e6:.0f} us: shorter durations are not told apart"
    return check("clock", f"{clock or 'unknown source'}, in steps of {resolution_s * 1e9:.0f} ns", slow)


def _disk(folder: Path, host: Host) -> Iterator[Check]:
    free, kind = psutil.disk_usage(str(folder)).free, host.file_system(folder)
    text = f"{free / 1e9:.1f} GB free" + (f" ({kind})" if kind else "")
    advice = ""
    if free < _FREE_BYTES:
        advice = "a run takes 20 MB and some 100 bytes for each request and task: afterload runs prune removes old ones"
    elif kind in _REMOTE:
        advice = (
            "row files are mapped by several processes, which this file system does slowly or not at all: --out on a local disk"
        )
    elif kind in {"tmpfs", "ramfs"}:
        advice = "runs that go there are kept in memory, and are gone after a restart of the machine"
    yield check("disk", text, advice)
    if _SHARED.is_dir():
        free = psutil.disk_usage(str(_SHARED)).free
        little = "PostgreSQL and Chromium want some: docker run --shm-size=256m" if free < _SHARED_BYTES else ""
        # Runs themselves do without it.
        yield Check(str(_SHARED), "absent" if little else "ok", f"{bytes_of(free)} free", little)
