"""What each fault that does not end the boot is made of: its kind and values in, a disturbance out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from harness.disturbances import (
    Disturbance,
    FullDisk,
    HangUp,
    Hog,
    OneWorker,
    Rolling,
    Squeeze,
    Stop,
    WorldControl,
    WorldTrouble,
)
from harness.errors import UsageError
from harness.faults import OF_THE_WORLD, FaultPlan
from harness.loads import Loads
from harness.processes import Child
from harness.rundir import EventLog, RunDir
from harness.servers import ServerUnderTest

__all__ = ["FaultMaker", "require_known"]


def require_known(faults: Sequence[FaultPlan], control: WorldControl | None, scenario: str) -> None:
    """Raises UsageError if one is to be done to a world that cannot do it."""
    can = control.can if control is not None else ()
    for fault in faults:
        if fault.name in OF_THE_WORLD and fault.name not in can:
            why = f"it knows {' and '.join(can)}" if can else "it has no server of afterload's own that could be slow or dead"
            raise UsageError(f"fault {fault} is not possible with the world of scenario {scenario!r}: {why}")


class FaultMaker:
    """Knows what there is in a run that a fault could be done to."""

    def __init__(
        self,
        server: ServerUnderTest,
        rundir: RunDir,
        events: EventLog,
        control: WorldControl | None,
        world: Child | None,
        loads: Loads,
    ) -> None:
        """`control` and `world` are None for an app of one's own."""
        self._server = server
        self._rundir = rundir
        self._events = events
        self._control = control
        self._world = world
        self._loads = loads

    def make(self, number: int, plan: FaultPlan) -> Disturbance:
        """What does fault `number` of the run."""
        value = plan.value
        match plan.name:
            case "stop":
                return Stop(self._server)
            case "squeeze":
                return Squeeze(self._server, int(value or 1))
            case "hog":
                return Hog(self._rundir, number, int(value or 0), plan.length_s)
            case "full-disk":
                return FullDisk(self._server, self._rundir, self._witnesses if value == "all" else lambda: ())
            case "slow-world" | "dead-world":
                assert self._control is not None, "the plan was checked"
                return WorldTrouble(self._control, number, plan.name, float(value or 0.0))
            case "worker":
                return OneWorker(self._server, self._events, str(value))
            case "rolling":
                return Rolling(self._server, self._events)
            case "hup":
                return HangUp(self._server, self._events)
        msg = f"{plan.name} is done by the server"
        raise AssertionError(msg)

    def _witnesses(self) -> Iterator[tuple[psutil.Process, Path]]:
        """The processes of the world and of the load, each with the file of its rows."""
        files = [(self._world, self._rundir.effects())]
        files += [(load, self._rundir.requests(number)) for number, load in enumerate(self._loads.processes)]
        for child, path in files:
            if child is not None:
                yield from ((process, path) for process in child.members())
