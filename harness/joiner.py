"""What `afterload load` does: joins a run that another machine measures, sends its part of the load, hands back the rows.

The load processes are those of any run. All is in a folder that is gone afterwards; what was handed back is what is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from harness.calibration import recorded
from harness.engines import MODULE
from harness.errors import Interrupted, RunError, UsageError
from harness.histograms import count_rows
from harness.processes import Child, Janitor, adopt_orphans, told_to_end
from harness.rows import Gauge, LivePage, RowFileError
from harness.rows.layout import HEADER_BYTES, REQUEST, HeaderField
from harness.talk import Talk
from harness.target import here, locustfile_sha256, require_own, whose_clock
from harness.traffic.jobs import resolved_headers
from harness.version import VERSION

__all__ = ["Joiner"]

_POLL_S = 0.01
_STANDING_S = 0.25
_GRACE_S = 3.0
_HAND_BACK_S = 30.0
"""After an interruption: how long the rows may take to get away."""


class _Load:
    """One load process of this machine."""

    def __init__(self, process: int, rows: Path, child: Child, talk: Talk) -> None:
        self.process = process
        self.rows = rows
        self.child = child
        self.talk = talk
        self.ready: dict[str, Any] | None = None
        self.report: dict[str, Any] | None = None
        self._page: LivePage | None = None

    @property
    def is_over(self) -> bool:
        """It has ended, well or not."""
        return self.child.poll() is not None

    def gauge(self, gauge: Gauge) -> int:
        """One of its gauges, as it is now."""
        if self._page is None:
            try:
                self._page = LivePage(self.rows)
            except (OSError, RowFileError):
                return 0
        return self._page.gauge(gauge)

    def close(self) -> None:
        """Nothing more is read of it."""
        if self._page is not None:
            self._page.close()
            self._page = None


class Joiner:
    """The part of this machine in one run."""

    def __init__(
        self,
        address: tuple[str, int],
        token: str,
        *,
        processes: int,
        confirmed: Sequence[str],
        locustfile: Path | None,
        join_s: float,
    ) -> None:
        """Raises UsageError if there is no such locustfile."""
        try:
            self._sha256 = locustfile_sha256(locustfile)
        except OSError as error:
            raise UsageError(f"cannot read the locustfile {locustfile}: {error.strerror}") from None
        self._address = address
        self._token = token
        self._processes = processes
        self._confirmed = confirmed
        self._locustfile = locustfile
        self._join_s = join_s
        self._target: str | None = None
        self._loads: list[_Load] = []
        self._most_rows = 0
        self._warm_up_s = 0.0
        self._t0_ns = 0
        self._is_told = False  # that all are ready
        self._has_begun = False
        self._is_handed_back = False
        self._is_stopping = False
        self._is_over = False
        self._problem: str | None = None
        self._interrupted_by: int | None = None
        self._next_standing_s = 0.0

    def run(self) -> int:
        """Joins, sends, hands back. The exit status. Raises RunError."""
        with tempfile.TemporaryDirectory(prefix="afterload-load-") as name:
            folder = Path(name)
            run_id = f"{folder.name}-{os.getpid()}"
            with Janitor(run_id, folder), adopt_orphans(), told_to_end(self._on_signal):
                command = [sys.executable, *MODULE, "harness.load.machines", "member"]
                member = Child("join", command, folder / "join.log", run_id=run_id, env={"AFTERLOAD_JOIN_TOKEN": ""}, piped=True)
                try:
                    self._take_part(member, folder, run_id)
                finally:
                    for load in self._loads:
                        load.child.stop(_GRACE_S)
                        load.close()
                    # What was said to it last it may still have to pass on.
                    with contextlib.suppress(OSError):
                        member.stdin.close()
                    member.wait(_GRACE_S)
                    member.stop(_GRACE_S)
        if self._interrupted_by is not None:
            return 128 + self._interrupted_by
        if self._problem is not None:
            raise RunError(self._problem)
        return 0

    def _take_part(self, member: Child, folder: Path, run_id: str) -> None:
        talk = Talk(member, lambda: None)
        host, port = self._address
        talk.say(
            {
                "token": self._token,
                "address": [host, port],
                "join_s": self._join_s,
                "version": VERSION,
                "processes": self._processes,
                "here": here(),
                "clock": whose_clock(),
                "locustfile_sha256": self._sha256,
                "folder": str(folder),
            }
        )
        self._tell(f"joining the run at {host}:{port}")
        give_up_s: float | None = None
        while not self._is_over:
            ended = member.poll() is not None
            while (said := talk.listen()) is not None:
                event = said.pop("event")
                if event == "job":
                    self._start(said, folder, run_id, talk)
                else:
                    getattr(self, f"_on_{event}")(said, talk)
            if ended and not self._is_over:
                raise RunError(_short(member.died("while it took part")))
            self._follow_loads(talk)
            if self._interrupted_by is not None and give_up_s is None:
                give_up_s = time.monotonic() + _HAND_BACK_S
                self._interrupted(talk)
            if give_up_s is not None and time.monotonic() > give_up_s:
                raise Interrupted(self._interrupted_by or signal.SIGINT)
            time.sleep(_POLL_S)

    # What the one that measures says.

    def _on_welcome(self, said: dict[str, Any], talk: Talk) -> None:
        self._target = said["target"]
        try:
            require_own(said["target"], self._confirmed)
        except UsageError as error:
            talk.say({"leave": str(error)})
            raise
        self._tell(f"joined; its load goes to {said['target']}, waiting for all load machines to be there")

    def _on_refused(self, said: dict[str, Any], talk: Talk) -> None:
        raise RunError(f"the run did not take this load machine: {said['why']}")

    def _on_not_joined(self, said: dict[str, Any], talk: Talk) -> None:
        host, port = self._address
        if said["is_token_wrong"]:
            raise RunError(
                f"{host}:{port} takes connections, but did not accept the join token within {self._join_s:g} s",
                "it must be the one that the other machine shows; each run has its own",
            )
        raise RunError(
            f"nothing was reached at {host}:{port} within {self._join_s:g} s",
            "start `afterload run ... --expect-loads N --join-bind HOST:PORT` there first, and let its firewall pass the port",
        )

    def _on_begin(self, said: dict[str, Any], talk: Talk) -> None:
        self._has_begun = True
        self._t0_ns = said["t0_ns"]
        late_s = time.monotonic() - said["t0_ns"] / 1e9
        for load in self._loads:
            load.talk.say({"t0_ns": said["t0_ns"]})
        self._tell("the load begins" + (f", {late_s:.3f} s late" if late_s > 0 else ""))

    def _on_stop(self, said: dict[str, Any], talk: Talk) -> None:
        self._stop_loads()

    def _on_over(self, said: dict[str, Any], talk: Talk) -> None:
        self._is_over = True
        if not self._is_handed_back:
            self._problem = self._problem or "the run ended before this machine had sent its part"
            return
        sent, planned = (sum((load.report or {}).get(what, 0) for load in self._loads) for what in ("sent", "planned"))
        early = f" of {planned:,}; the run ended early" if self._is_stopping and sent < planned else ""
        self._tell(f"handed back what became of the {sent:,} requests that were sent{early}")

    def _on_gone(self, said: dict[str, Any], talk: Talk) -> None:
        host, port = self._address
        raise RunError(f"the machine that measures ({host}:{port}) is gone: {said['why']}; nothing more is sent")

    # What the load processes do.

    def _start(self, said: dict[str, Any], folder: Path, run_id: str, talk: Talk) -> None:
        try:
            templates = [
                {**template, "headers": resolved_headers(template["name"], template["headers"], os.environ)}
                for template in said["templates"]
            ]
        except ValueError as error:
            talk.say({"leave": f"{error} on this load machine (secrets do not travel: they are taken from each machine's own)"})
            raise RunError(str(error), "values of headers that are secret do not travel; set the variable here too") from None
        known = recorded(self._processes)
        ceiling = {} if known is None else {"ceiling_per_s": known.ceiling_per_s / known.processes}
        self._most_rows, self._warm_up_s = said["most_rows"], said["warm_up_s"]
        for job in said["jobs"]:
            if job["host"] != self._target:
                raise RunError(f"the run's load was to go to {self._target}, and its job says {job['host']}: nothing is sent")
            rows = folder / f"requests-{job['process']}.rows"
            name = f"load-{job['process']}"
            command = [sys.executable, *MODULE, "harness.load"]
            child = Child(name, command, folder / f"{name}.log", run_id=run_id, piped=True)
            load = _Load(job["process"], rows, child, Talk(child, lambda: None))
            self._loads.append(load)
            whole = {**job, **ceiling, "rows": str(rows)}
            if self._locustfile is not None:
                whole["locustfile"] = str(self._locustfile.absolute())
            else:
                whole["templates"] = templates
            load.talk.say(whole)

    def _follow_loads(self, talk: Talk) -> None:
        if not self._loads or self._is_handed_back:
            return
        # First who has ended, then what they said: one that ends meanwhile is judged in the next turn, when all is known of it.
        ended = [load.is_over for load in self._loads]
        for load, has_ended in zip(self._loads, ended, strict=True):
            while (said := load.talk.listen()) is not None:
                if "ready" in said:
                    load.ready = {key: value for key, value in said.items() if key != "ready"}
                elif "done" in said:
                    load.report = {key: value for key, value in said.items() if key != "done"}
            if has_ended and load.report is None and self._problem is None:
                self._problem = _short(load.child.died("in the middle of the load" if self._has_begun else "before it was ready"))
                self._stop_loads()
        if not self._is_told and all(load.ready is not None for load in self._loads):
            self._is_told = True
            talk.say({"ready": [load.ready for load in self._loads]})
        if time.monotonic() > self._next_standing_s:
            self._next_standing_s = time.monotonic() + _STANDING_S
            talk.say({"standing": self._standing()})
        if all(ended):
            self._hand_back(talk)

    def _standing(self) -> dict[str, int]:
        gauges = {"sent": Gauge.ACCEPTED, "answered": Gauge.STARTED, "shed": Gauge.REFUSED, "in_flight": Gauge.REQUESTS_IN_FLIGHT}
        return {name: sum(load.gauge(gauge) for load in self._loads) for name, gauge in gauges.items()}

    def _hand_back(self, talk: Talk) -> None:
        self._is_handed_back = True
        talk.say({"standing": self._standing()})
        talk.say({"done": [self._reported(load) for load in self._loads], "problem": self._problem})

    def _reported(self, load: _Load) -> dict[str, Any]:
        """What a load process said at its end, or what its file says of one that died."""
        said = load.report or {
            "planned": (load.ready or {}).get("planned", 0),
            "sent": load.gauge(Gauge.ACCEPTED),
            "shed": load.gauge(Gauge.REFUSED),
            "cpu_share": 0.0,
        }
        load.close()
        ended = load.child.poll()
        file: dict[str, Any] | None = None
        if load.rows.exists() and (n_rows := _trim(load.rows)) is not None:
            path = load.rows
            if n_rows > self._most_rows and self._t0_ns:
                path = load.rows.with_suffix(".hdr.jsonl")
                count_rows(load.rows, path, t0_ns=self._t0_ns, warm_up_s=self._warm_up_s, process=load.process)
            file = {"path": str(path), "rows": n_rows}
        return {"process": load.process, **said, "exit_status": ended.status if ended else -1, "file": file}

    def _stop_loads(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            for load in self._loads:
                load.talk.say({"stop": True})

    def _interrupted(self, talk: Talk) -> None:
        name = signal.Signals(self._interrupted_by or signal.SIGINT).name
        self._problem = f"it was interrupted there by {name}"
        if not self._loads:
            talk.say({"leave": self._problem})
            raise Interrupted(self._interrupted_by or signal.SIGINT)
        self._tell(f"interrupted by {name}: it sends nothing more, and hands back what it has; once more to leave at once")
        self._stop_loads()

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted_by is not None:
            raise Interrupted(number)
        self._interrupted_by = number


def _trim(rows: Path) -> int | None:
    """Cuts a row file off behind its last row: it grew by segments. How many rows there are; None: it has no header yet."""
    with rows.open("r+b") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not any(header[:8]):
            return None
        n_rows = int.from_bytes(header[HeaderField.CLAIMED : HeaderField.CLAIMED + 8], "little")
        file.truncate(HEADER_BYTES + n_rows * REQUEST.itemsize)
    return n_rows


def _short(error: Exception) -> str:
    # The log is in a folder that will be gone.
    return str(error).partition("\n  full log:")[0]
