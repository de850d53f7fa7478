"""Makes the runs of a comparison: block by block, each configuration once in each, with fresh servers and the same requests.

What is over is written down after every run, so a comparison that was interrupted, or killed, goes on where it stopped.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from harness.compare.alike import steered_words
from harness.compare.designs import order_of
from harness.compare.folder import ComparisonFolder
from harness.compare.judging import written
from harness.compare.progress import ComparisonProgress, Place
from harness.compare.quantities import Measured, measured_of
from harness.compare.record import Design, RunRecord
from harness.errors import Interrupted, RunError
from harness.plan import Plan
from harness.processes import told_to_end
from harness.schema import Summary
from harness.session import describe
from harness.session import run as run_session

__all__ = ["AROUND_S", "Campaign", "Slot", "is_hopeless", "missing", "unmasked"]

GIVE_UP: Final = 3
"""A configuration whose runs could not be used in so many blocks one after the other is left out of the others."""

AROUND_S: Final = 4.0
"""What a run takes beside its load, as long as nothing better is known: to start, drain, stop and be judged."""

_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Slot:
    """One run that is to be made."""

    block: int  # from 1
    place: int  # in the block, from 1
    configuration: int
    attempt: int  # from 1

    def name(self, labels: Sequence[str]) -> str:
        """Of its directory, below that of the comparison."""
        plain = re.sub(r"[^\w.=-]+", "-", labels[self.configuration]).strip("-")[:60] or "run"
        again = f"-again{self.attempt}" if self.attempt > 1 else ""
        return f"block-{self.block:02}/{self.place}-{plain}{again}"


def missing(design: Design, runs: Sequence[RunRecord]) -> Iterator[Slot]:
    """The runs that are still to be made, in order; as if each could be used."""
    for block in range(1, design.blocks + 1):
        for place, configuration in enumerate(order_of(block - 1, len(design.configurations)), 1):
            own = [run for run in runs if (run.block, run.configuration) == (block, configuration)]
            if any(run.is_usable for run in own) or len(own) > design.retries or is_given_up(runs, configuration, block):
                continue
            yield Slot(block, place, configuration, len(own) + 1)


def is_hopeless(design: Design, runs: Sequence[RunRecord]) -> bool:
    """Whether a block is over, and no run of any configuration could be used, in it or before: the next would be no better."""
    last = max((run.block for run in runs), default=0)
    made = [
        sum(run.block == last and run.configuration == number for run in runs) for number in range(len(design.configurations))
    ]
    return min(made) > design.retries and not any(run.is_usable for run in runs)


def is_given_up(runs: Sequence[RunRecord], configuration: int, block: int) -> bool:
    """Whether a configuration could not be used in the blocks before this one."""
    own = [run for run in runs if run.configuration == configuration]
    usable = {run.block for run in own if run.is_usable}
    before = sorted({run.block for run in own if run.block < block})[-GIVE_UP:]
    return len(before) == GIVE_UP and not usable & set(before)


class Campaign:
    """The runs of one comparison, made one after the other in this process."""

    def __init__(
        self, design: Design, folder: ComparisonFolder, progress: ComparisonProgress, secrets: Mapping[str, str] | None = None
    ) -> None:
        """`secrets`: what the design says with the names of variables, because nobody may read it there."""
        self._secrets = secrets or {}
        self._design = design
        self._folder = folder
        self._progress = progress
        self._labels = [each.label for each in design.configurations]
        self._signal: int | None = None

    def run(self) -> int | None:
        """Makes every run that is missing. Returns the signal that interrupted it, if one did.

        Raises RunError if a configuration cannot even begin to run and never did.
        """
        with told_to_end(self._on_signal):
            runs = self._folder.runs()
            n_before = len(runs)
            while (slot := next(missing(self._design, runs), None)) is not None:
                # Who goes on with it all the same gets the next block.
                if len(runs) > n_before and is_hopeless(self._design, runs):
                    break
                if self._signal is None and runs:
                    self._settle()
                if self._signal is not None:
                    break
                self._progress.begin(self._place(slot, runs))
                run = self._make(slot, runs)
                if run is None:
                    break
                self._folder.add(run)
                runs.append(run)
                self._progress.done(run, self._labels[run.configuration], self._left_s(runs))
        self._progress.close()
        return self._signal

    def _make(self, slot: Slot, runs: Sequence[RunRecord]) -> RunRecord | None:
        """One run; None: it was interrupted."""
        seed = self._design.seed + slot.block - 1
        name = slot.name(self._labels)
        began, path = time.monotonic(), self._folder.run_path(name)
        shell = {
            "block": slot.block,
            "place": slot.place,
            "configuration": slot.configuration,
            "attempt": slot.attempt,
            "directory": name,
            "seed": seed,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        values = unmasked(self._design.configurations[slot.configuration].plan, self._secrets)
        plan = Plan.of({**values, "seed": seed}, "the plan of the comparison")
        try:
            described = describe(plan)
            if self._signal is not None:
                return None
            outcome = run_session(plan, described, out=path, progress=self._progress)
        except Interrupted as interrupted:
            self._signal = int(interrupted.signal)
            return None
        except RunError as error:
            if self._signal is not None:
                # A Ctrl-C goes to whoever was asked to describe the scenario, too.
                return None
            if not any(run.configuration == slot.configuration and run.is_usable for run in runs):
                raise type(error)(f"{self._labels[slot.configuration]}: {error}", error.hint) from None
            nothing: dict[str, Any] = {"is_usable": False, "verdict": "INCONCLUSIVE", "reasons": [str(error)]}
            return RunRecord(**shell, **nothing, took_s=time.monotonic() - began, values={}, never=[])
        # While it was judged: it is whole, and the last one.
        self._signal = self._signal or outcome.asked_to_end
        if outcome.interrupted_by is not None:
            return None
        record = _described(outcome.summary, measured_of(outcome.judged), shell)
        if record.is_usable and not self._design.keep_runs:
            self._folder.drop_rows(outcome.rundir)
        # With what it took to judge it: that is part of what is still to come, too.
        return record.model_copy(update={"took_s": time.monotonic() - began})

    def _settle(self) -> None:
        end = time.monotonic() + self._design.settle_s
        while self._signal is None and time.monotonic() < end:
            time.sleep(min(_POLL_S, self._design.settle_s))

    def _place(self, slot: Slot, runs: Sequence[RunRecord]) -> Place:
        n = self._design.blocks * len(self._labels)
        left = sum(1 for _ in missing(self._design, runs))
        return Place(
            block=slot.block,
            blocks=self._design.blocks,
            run=n - left + 1,
            runs=n,
            label=self._labels[slot.configuration],
            left_s=self._left_s(runs),
        )

    def _left_s(self, runs: Sequence[RunRecord]) -> float:
        """What the runs that are missing will take: as long as those of the same configuration, else as long as any."""
        took = {number: [run.took_s or 0.0 for run in runs if run.configuration == number] for number in range(len(self._labels))}
        overheads = [each.took_s - self._load_s(each.configuration) for each in runs if each.took_s]
        usual = sum(overheads) / len(overheads) if overheads else AROUND_S
        total = 0.0
        for slot in missing(self._design, runs):
            own = took[slot.configuration]
            total += sum(own) / len(own) if own else self._load_s(slot.configuration) + usual
            total += self._design.settle_s
        return total

    def _load_s(self, configuration: int) -> float:
        return float(self._design.configurations[configuration].plan["for_s"])

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._signal = number


def unmasked(values: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """A plan's values with the secrets back in their headers. Those that are not known here stay names of variables."""

    def restored(headers: Mapping[str, str]) -> dict[str, str]:
        return {
            name: secrets.get(value.removeprefix("$"), value) if value[:1] == "$" else value for name, value in headers.items()
        }

    found = dict(values)
    if "requests" in found:
        found["requests"] = [{**each, "headers": restored(each.get("headers", {}))} for each in found["requests"]]
    if "openapi_headers" in found:
        found["openapi_headers"] = restored(found["openapi_headers"])
    return found


def _described(summary: Summary, measured: Measured, shell: dict[str, Any]) -> RunRecord:
    """A run's line, from its summary and its figures."""
    machine, steered = summary.machine, steered_words(summary)
    noisy = (machine.noisy_s or 0.0) / machine.seen_s if machine is not None and machine.seen_s else None
    return RunRecord(
        **shell,
        took_s=None,
        is_usable=summary.trusted and not steered,
        verdict=summary.verdict,
        reasons=[*([steered] if steered else []), *summary.reasons],
        values=dict(measured.values),
        never=[name for name, value in measured.values.items() if value == float("inf")],
        bounds=dict(measured.bounds),
        steps=dict(measured.steps),
        few=list(measured.few),
        findings={each.id: each.text for each in summary.findings},
        noisy_share=noisy,
        environment_hash=str(summary.environment.get("hash", "")),
        curves=written(measured.curves),
    )
