"""What the machine is and allows: processor, clock, control group, container. Looks only; `root` is another one in tests."""

from __future__ import annotations

import math
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Host", "Throttled"]


@dataclass(frozen=True, slots=True)
class Throttled:
    """A control group with a quota: how often it has been stopped so far for the rest of a period."""

    times: int  # periods in which it had used its share
    period_ns: int


@dataclass(frozen=True, slots=True)
class Host:
    """Files of /proc and /sys below `root`. What is not there is unknown: an empty text, or None."""

    root: Path = Path("/")

    @property
    def cpu(self) -> str:
        """The name of the processor."""
        lines = self._text("proc/cpuinfo").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())

    @property
    def cores(self) -> int | None:
        """Processor cores; less than its threads where each core has two."""
        pairs = re.findall(
            r"^physical id\s*:\s*(\d+)$.*?^core id\s*:\s*(\d+)$", self._text("proc/cpuinfo"), re.MULTILINE | re.DOTALL
        )
        return len(set(pairs)) or None

    @property
    def is_virtual(self) -> bool:
        """True if the processor says that it is shared with others."""
        flags = re.search(r"^flags\s*:(.*)$", self._text("proc/cpuinfo"), re.MULTILINE)
        return flags is not None and " hypervisor" in flags[1]

    @property
    def governor(self) -> str:
        """How the frequency is chosen: `performance`, `powersave`, ...; of all CPUs that differ, with commas between."""
        found = {self._text(path) for path in sorted(self._glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))}
        return ",".join(sorted(found - {""}))

    @property
    def turbo(self) -> bool | None:
        """Whether cores may run faster for a while."""
        if off := self._text("sys/devices/system/cpu/intel_pstate/no_turbo"):
            return off == "0"
        boost = self._text("sys/devices/system/cpu/cpufreq/boost")
        return boost == "1" if boost else None

    @property
    def clock(self) -> str:
        """Where the time comes from."""
        return self._text("sys/devices/system/clocksource/clocksource0/current_clocksource")

    @property
    def cpu_quota(self) -> float | None:
        """Cores that the control group allows, the least of all above it; None: no limit."""
        quotas = [_quota(text) for text in self._in_groups("cpu.max", "cpu")]
        for folder in self._folders("cpu"):
            used, period = self._text(folder / "cpu.cfs_quota_us"), self._text(folder / "cpu.cfs_period_us")
            if used.isdigit() and period.isdigit() and int(period):
                quotas.append(int(used) / int(period))
        return min((each for each in quotas if each is not None), default=None)

    @property
    def throttled(self) -> Throttled | None:
        """Of all groups from its own up the one that was stopped most often; None: none has a quota."""
        found = []
        for folder in self._folders("cpu"):
            _, _, period = self._text(folder / "cpu.max").partition(" ")
            if self._text(folder / "cpu.cfs_quota_us").isdigit():
                period = self._text(folder / "cpu.cfs_period_us")
            elif _quota(self._text(folder / "cpu.max")) is None:
                continue
            counted = dict(line.split(" ", 1) for line in self._text(folder / "cpu.stat").splitlines() if " " in line)
            times = counted.get("nr_throttled", "")
            if times.isdigit() and period.isdigit():
                found.append(Throttled(int(times), int(period) * 1000))
        return max(found, key=lambda each: each.times, default=None)

    @property
    def memory_limit_bytes(self) -> int | None:
        """What the control group allows; None: no limit, or one beyond the machine's."""
        texts = [*self._in_groups("memory.max", "memory"), *self._in_groups("memory.limit_in_bytes", "memory")]
        limits = [int(text) for text in texts if text.isdigit()]
        total = re.search(r"^MemTotal:\s*(\d+) kB", self._text("proc/meminfo"), re.MULTILINE)
        machine = int(total[1]) * 1024 if total else math.inf
        return min((each for each in limits if each < machine), default=None)

    @property
    def container(self) -> str:
        """`docker`, `podman`, `kubernetes`, `lxc` or `container`; empty: none that shows."""
        if "KUBERNETES_SERVICE_HOST" in os.environ and self.root == Path("/"):
            return "kubernetes"
        for path, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if (self.root / path).exists():
                return name
        groups = self._text("proc/1/cgroup")
        known = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "lxc": "lxc"}
        return next((name for part, name in known.items() if part in groups), "")

    def file_system(self, folder: Path) -> str:
        """The type of the file system of a folder: `ext4`, `nfs4`, `overlay`."""
        where, best = str(folder.resolve()), ("", "")
        for line in self._text("proc/self/mounts").splitlines():
            _, mount, kind, *_ = line.split(" ")
            mount = mount.replace("\\040", " ")
            is_above = where == mount or where.startswith(mount.rstrip("/") + "/")
            # Of several at the same place, the last one lies on top.
            if is_above and len(mount) >= len(best[0]):
                best = (mount, kind)
        return best[1]

    def _in_groups(self, name: str, controller: str) -> list[str]:
        return [text for folder in self._folders(controller) if (text := self._text(folder / name))]

    def _folders(self, controller: str) -> list[Path]:
        """Of the process's own group and all above it, in version 2 and, for one controller, in version 1."""
        found: list[Path] = []
        for line in self._text("proc/self/cgroup").splitlines():
            number, controllers, group = line.split(":", 2)
            if number == "0":
                top = Path("sys/fs/cgroup")
            elif controller in controllers.split(","):
                top = Path("sys/fs/cgroup") / controller
            else:
                continue
            own = top / group.lstrip("/")
            found += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
            # Inside a container its own group is the top, whatever /proc calls it.
            found.append(top)
        return list(dict.fromkeys(found))

    def _glob(self, pattern: str) -> list[Path]:
        return [path.relative_to(self.root) for path in self.root.glob(pattern)]

    def _text(self, path: str | Path) -> str:
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""


def _quota(text: str) -> float | None:
    """Of `cpu.max`: `200000 100000` are two cores, `max 100000` is no limit."""
    parts = text.split()
    return int(parts[0]) / int(parts[1]) if len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit() else None
