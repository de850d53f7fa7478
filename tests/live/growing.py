"""Row files on the disk that grow as those of a run do, from rows in memory; and what was known of the run at an instant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from harness.live.folding import Folding
from harness.live.frame import Look
from harness.live.ledger import Ledger
from harness.live.shelf import Shelf
from harness.live.standing import standing_of
from harness.model import Boot, Evidence
from harness.rows import DropReason, Kind, RowFile
from harness.rows.layout import GAUGES_OFFSET, HEADER_BYTES, MAGIC, VERSION, HeaderField

_LOOK = Look(0.0, 1.0, 0.5)
_BEGINNINGS = {Kind.REQUESTS: "sent_ns", Kind.TASKS: "accepted_ns", Kind.EFFECTS: "arrived_ns", Kind.GAUGES: "t_ns"}
_INSTANTS = {
    Kind.REQUESTS: ("done_ns",),
    Kind.TASKS: ("flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"),
}


class Dropped(NamedTuple):
    """A task was dropped, which was taken back: before that its row says so, and afterwards only the reason stays."""

    boot: int
    file: int  # of its boot
    row: int
    dropped_ns: int
    back_ns: int
    reason: int


_REASONS = (DropReason.DISCARDED, DropReason.DISCARDED, DropReason.SKIPPED, DropReason.CANCELLED, DropReason.ABANDONED)


def drops_of(evidence: Evidence, share: float, seed: int, most_ns: int = 400_000_000) -> list[Dropped]:
    """Such a share of the tasks that waited was dropped meanwhile; of those that never started, within `most_ns`."""
    random, found = Random(seed), []
    died_ns = {boot.boot: boot.signalled_ns or 0 for boot in evidence.boots}
    for boot, files in evidence.tasks.items():
        for number, file in enumerate(files):
            for place in np.flatnonzero((file.rows["op"] != 0) & (file.rows["dropped_ns"] == 0)).tolist():
                row = file.rows[place]
                accepted_ns = int(row["accepted_ns"])
                until_ns = int(row["started_ns"]) or min(accepted_ns + most_ns, died_ns[boot] or accepted_ns + most_ns)
                if until_ns - accepted_ns > 10 and random.random() < share:
                    dropped_ns, back_ns = sorted(random.sample(range(accepted_ns, until_ns), 2))
                    found.append(Dropped(boot, number, place, dropped_ns, back_ns, random.choice(_REASONS)))
    return found


def as_read_at(evidence: Evidence, drops: Sequence[Dropped], read_ns: int) -> Evidence:
    """What the rows say of drops when they are read at the instant."""
    if not drops:
        return evidence
    tasks = {
        boot: [dataclasses.replace(file, rows=np.array(file.rows)) for file in files] for boot, files in evidence.tasks.items()
    }
    for each in drops:
        row = tasks[each.boot][each.file].rows[each.row : each.row + 1]
        if not row["failed_ns"][0]:
            row["reason"] = each.reason
        if each.dropped_ns <= read_ns < each.back_ns:
            row["dropped_ns"] = each.dropped_ns
            row["started_ns"] = row["finished_ns"] = row["failed_ns"] = 0
            row["reason"] = each.reason
    return dataclasses.replace(evidence, tasks=tasks)


def files_of(evidence: Evidence) -> Iterator[tuple[str, RowFile]]:
    """All row files, and what they are called."""
    for number, file in enumerate(evidence.requests):
        yield f"requests-{number}.rows", file
    for boot, files in evidence.tasks.items():
        for number, file in enumerate(files):
            yield f"tasks-{boot}-{number}.rows", file
    for number, file in enumerate(evidence.effects):
        yield f"effects-{number}.rows", file
    if evidence.gauges is not None:
        yield "gauges.rows", evidence.gauges


def write_as_at(folder: Path, evidence: Evidence, at_ns: int) -> None:
    """What the files would hold if everything later than the instant had not happened. Of drops see `as_read_at`."""
    for name, file in files_of(evidence):
        if file.created_ns <= at_ns:
            (folder / name).write_bytes(_bytes(file, at_ns))


def _bytes(file: RowFile, at_ns: int) -> bytes:
    rows = np.array(file.rows)
    begin = rows[_BEGINNINGS[file.kind]]
    if file.kind is Kind.REQUESTS:
        begin = np.where(begin == 0, rows["due_ns"], begin)
    rows[begin > at_ns] = 0
    for field in _INSTANTS.get(file.kind, ()):
        late = rows[field] > at_ns
        rows[field][late] = 0
        if field == "done_ns":
            rows["outcome"][late] = 0
        if field == "dropped_ns" or (field == "failed_ns" and file.kind is Kind.TASKS):
            rows["reason"][late] = 0
    there = np.flatnonzero(begin <= at_ns)
    claimed = int(there[-1]) + 1 if len(there) else 0
    header = bytearray(HEADER_BYTES)
    header[:8] = MAGIC
    for offset, value in ((8, VERSION), (12, int(file.kind)), (16, rows.dtype.itemsize), (20, HEADER_BYTES)):
        header[offset : offset + 4] = value.to_bytes(4, "little")
    closed_ns = file.closed_ns if file.closed_ns <= at_ns else 0
    words = {
        HeaderField.PID: file.pid,
        HeaderField.BOOT: file.boot,
        HeaderField.CREATED: file.created_ns,
        HeaderField.CLAIMED: claimed,
        HeaderField.CLOSED: closed_ns,
        HeaderField.NAMES_USED: len(file.names),
        **{GAUGES_OFFSET + 8 * number: value for number, value in enumerate(file.gauges)},
    }
    for offset, value in words.items():
        header[offset : offset + 8] = value.to_bytes(8, "little")
    # Writers take room in advance: what is beyond the rows that are claimed is zeros, or not there.
    return bytes(header) + rows.tobytes()


def known_at(evidence: Evidence, at_ns: int, told_ns: int = 0) -> Evidence:
    """With the boots and faults that were known of: each thing `told_ns` after it happened."""
    by = at_ns - told_ns

    def then(instant: int | None) -> int | None:
        return instant if instant is not None and instant <= by else None

    def boot_then(boot: Boot) -> Boot:
        is_dead, is_told = then(boot.reaped_ns) is not None, then(boot.signalled_ns) is not None
        return dataclasses.replace(
            boot,
            ready_ns=then(boot.ready_ns),
            frozen_ns=then(boot.frozen_ns),
            signalled_ns=then(boot.signalled_ns),
            reaped_ns=then(boot.reaped_ns),
            signal=boot.signal if is_told else None,
            fault=boot.fault and is_told,
            exit_status=boot.exit_status if is_dead else None,
            predicted_queued=boot.predicted_queued if is_told else None,
            predicted_running=boot.predicted_running if is_told else None,
            said_abandoned_queued=boot.said_abandoned_queued if is_dead else None,
            said_abandoned_running=boot.said_abandoned_running if is_dead else None,
        )

    return dataclasses.replace(
        evidence,
        boots=[boot_then(boot) for boot in evidence.boots if boot.spawned_ns <= by],
        faults=[
            dataclasses.replace(fault, ended_ns=then(fault.ended_ns))
            for fault in evidence.faults
            if then(fault.landed_ns) is not None
        ],
        steered=[each for each in evidence.steered if then(each.landed_ns) is not None],
        n_load_processes=1,
    )


class Followed:
    """A run that grows on the disk, read by a shelf and told by ledgers, as the history does it."""

    def __init__(self, folder: Path, evidence: Evidence, folding: Folding | None = None, drops: Sequence[Dropped] = ()) -> None:
        self.folder, self._evidence = folder, evidence
        self._drops = drops
        self.shelf = Shelf(folder)
        self.ledger: Ledger | None = None
        self.folding = folding
        self.n_begun = self.n_folded = self.n_read_again = 0
        self._read_ns = 0

    def read(self, at_ns: int) -> None:
        """The files as they are at the instant."""
        write_as_at(self.folder, as_read_at(self._evidence, self._drops, at_ns), at_ns)
        self._read_ns = at_ns
        self._refresh()

    def as_read(self, evidence: Evidence) -> Evidence:
        """With what its rows said of drops when they were read last."""
        return as_read_at(evidence, self._drops, self._read_ns)

    def _refresh(self) -> None:
        known = known_at(self._evidence, self._read_ns)
        self.shelf.refresh(self._evidence.run_tag, {boot.boot for boot in known.boots if boot.reaped_ns is not None})

    def tell(
        self, at_ns: int, known: Evidence, look: Look = _LOOK, *, is_over: bool = False, is_newest: bool = True
    ) -> tuple[Ledger, Evidence]:
        """A ledger at the instant; evidence without rows but those of samples, with what is known at it."""
        if self.shelf.is_folded and not is_newest:
            self._read_all_again()
        found = self._told(at_ns, known, look, is_over=is_over)
        if found is None:
            self._read_all_again()
            found = self._told(at_ns, known, look, is_over=is_over)
            assert found is not None
        return found

    def fold(self, ledger: Ledger, light: Evidence) -> None:
        """Afterwards, what can be let go is."""
        if self.folding is not None:
            self.n_folded += self.folding.fold_if_due(self.shelf, ledger, light)

    def _told(self, at_ns: int, known: Evidence, look: Look, *, is_over: bool) -> tuple[Ledger, Evidence] | None:
        if self.shelf.requests.is_missed:
            return None
        files = self.shelf.files(at_ns)
        tasks = {boot: [file for file in files if file.kind is Kind.TASKS and file.boot == boot] for boot in known.tasks}
        light = dataclasses.replace(
            known,
            requests=[file for file in files if file.kind is Kind.REQUESTS],
            tasks={boot: of_boot for boot, of_boot in tasks.items() if of_boot},
            effects=[],
            gauges=next((file for file in files if file.kind is Kind.GAUGES), None),
        )
        standing = standing_of(light, self.shelf.works, self._evidence.load_start_ns - 10**9, is_over=is_over)
        if self.ledger is None or self.ledger.standing != standing or self.ledger.until_ns > at_ns:
            if self.shelf.is_folded:
                return None
            self.ledger = self._new(standing)
        if self.ledger.until_ns < at_ns:
            self.ledger.advance(at_ns)
        if self.ledger.is_late or self.ledger.is_missed:
            if self.shelf.is_folded:
                return None
            self.ledger = self._new(standing)
            self.ledger.advance(at_ns)
        return (self.ledger, light) if self.ledger.can_show(look) else None

    def _read_all_again(self) -> None:
        self.n_read_again += 1
        self.shelf.close()
        self.shelf, self.ledger = Shelf(self.folder), None
        self._refresh()

    def _new(self, standing) -> Ledger:
        self.n_begun += 1
        return Ledger(standing, self.shelf.requests, self.shelf.works, self.shelf.effects)
