"""Tasks in a table, oldest first, and the life of one of them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dashboard.panels.lines import Line, Role, Run, cut, line
from dashboard.panels.words import UNKNOWN, clock, count, elided, ms
from harness.live.frame import TaskLine, TaskStatus

__all__ = ["ROLES", "life_lines", "status_tabs", "table_lines"]

ROLES: Final[dict[TaskStatus, Role]] = {
    TaskStatus.QUEUED: "done",
    TaskStatus.RUNNING: "response",
    TaskStatus.DONE: "good",
    TaskStatus.FAILED: "bad",
    TaskStatus.LOST: "bad",
    TaskStatus.OTHER: "muted",
}
_BAR: Final[dict[str, tuple[str, Role]]] = {"request": ("━", "response"), "queued": ("░", "done"), "ran": ("█", "good")}


def status_tabs(chosen: TaskStatus, numbers: Mapping[TaskStatus, int], width: int) -> Line:
    """Every status with how many there are, the chosen one lit up. A number that is not there was not seen."""
    for form in (" {key} {name} {number} ", " {name} {number} ", "{name} {number}", "{name:.4} {number}"):
        runs: list[Run] = [(" ", "")]
        for key, status in enumerate(TaskStatus, 1):
            label = form.format(key=key, name=status.value, number=count(numbers.get(status)))
            role: Role = "chosen" if status is chosen else ROLES[status] if numbers.get(status, 0) else "muted"
            runs += [(label, role), (" ", "")]
        if sum(len(text) for text, _ in runs) <= width:
            break
    return cut(tuple(runs), width)


def table_lines(tasks: Sequence[TaskLine], cursor: int, first: int, height: int, width: int) -> Sequence[Line]:
    """A heading and the rows from `first` on; the one at `cursor` is lit up."""
    head = _cells("op", "function", "boot", "due", "answer", "waited", "ran", "age", "", width)
    found: list[Line] = [cut(line((head, "title")), width)]
    for number, task in enumerate(tasks[first : first + max(height - 1, 0)], first):
        text = _row(task, width)
        found.append(cut(line((text.ljust(width), "chosen" if number == cursor else "")), width))
    if not tasks:
        found.append(line(("  none", "muted")))
    return found[: max(height, 0)]


def _row(task: TaskLine, width: int) -> str:
    name = f"{task.op:x}"[-8:] + (f".{task.index}" if task.index else "")
    return _cells(
        name,
        task.function,
        str(task.boot),
        clock(task.due_s, tenths=True) if _knows_request(task) else UNKNOWN,
        _span(task.due_s, task.answered_s),
        _span(task.accepted_s, task.started_s),
        _span(task.started_s, task.ended_s),
        ms(task.age_s * 1e3),
        task.detail,
        width,
    )


def _cells(
    name: str, function: str, boot: str, due: str, answer: str, waited: str, ran: str, age: str, detail: str, width: int
) -> str:
    if width < 76:
        return f" {name:<10} {elided(function, 14):<14} {waited:>8} {ran:>8} {age:>8}  {detail}"
    room = 14 if width < 90 else 18 if width < 110 else 28
    return f" {name:<10} {elided(function, room):<{room}} {boot:>4} {due:>8} {answer:>8} {waited:>8} {ran:>8} {age:>8}  {detail}"


def _span(from_s: float | None, until_s: float | None) -> str:
    return UNKNOWN if from_s is None or until_s is None else ms((until_s - from_s) * 1e3)


def life_lines(task: TaskLine | None, width: int, outlook: str = "not yet") -> Sequence[Line]:
    """The life of one task: a bar to scale, and each instant in words. `outlook`: what is said of what has not happened."""
    if task is None:
        return [cut(line((" no task is chosen", "muted")), width)]
    title = line(
        (f" {task.function}", "title"),
        f"  op {task.op:x}" + (f", task {task.index + 1} of it" if task.index else "") + f", boot {task.boot}  ",
        (task.status.value.upper(), ROLES[task.status]),
        f"  {task.detail}" if task.detail else "",
    )
    return [cut(each, width) for each in (title, _bar(task, width), *_instants(task, outlook))]


def _bar(task: TaskLine, width: int) -> Line:
    end_s = max(task.due_s + task.age_s, *(task.effects_s or (0.0,)))
    whole_s = max(end_s - task.due_s, 1e-9)
    columns = max(width - 2, 1)

    def column(instant_s: float | None) -> int:
        return columns if instant_s is None else max(0, min(round((instant_s - task.due_s) / whole_s * columns), columns))

    answered = column(task.answered_s) if _knows_request(task) else 0
    started = column(task.started_s)
    parts = [("request", min(answered, started)), ("queued", started), ("ran", column(task.ended_s))]
    runs: list[Run] = [(" ", "")]
    here = 0
    for name, until in parts:
        if until > here:
            glyph, role = _BAR[name]
            runs.append((glyph * (until - here), role))
            here = until
    return tuple(runs)


def _knows_request(task: TaskLine) -> bool:
    """A request has a row once it is sent, unless its load machine was lost or hands back histograms. The server saw its task."""
    return task.sent_s is not None


def _instants(task: TaskLine, outlook: str) -> Iterator[Line]:
    has_run = task.started_s is not None and task.ended_s is not None
    unseen = () if _knows_request(task) else ("due", "sent", "answered")
    origin = "accepted" if unseen else "due"
    known: list[tuple[str, float | None, str]] = [
        ("due", None if unseen else task.due_s, ""),
        ("sent", task.sent_s, ""),
        ("accepted", task.accepted_s, ""),
        ("answered", task.answered_s, ""),
        ("started", task.started_s, f"waited {_span(task.accepted_s, task.started_s)}" if task.started_s is not None else ""),
        (_END[task.status], task.ended_s, f"ran {_span(task.started_s, task.ended_s)}" if has_run else ""),
        *((f"effect {number}" if len(task.effects_s) > 1 else "effect", at, "") for number, at in enumerate(task.effects_s, 1)),
    ]
    happened = sorted((each for each in known if each[1] is not None), key=lambda each: each[1] or 0.0)
    for name, at_s, words in happened:
        assert at_s is not None
        after = "" if name == origin else f"+{ms((at_s - task.due_s) * 1e3)}"
        yield line(
            (f"  {name:<9}", "muted"), f"{clock(at_s, tenths=True):>9}", f"{after:>12}", (f"   {words}" if words else "", "muted")
        )
    missing = [name for name, at_s, _ in known if at_s is None and name not in unseen]
    if task.status is TaskStatus.LOST:
        # It ran, and its end is that of its server.
        missing += ["finished"] if has_run else []
        yield line(("  never    ", "bad"), f"{', '.join(missing) or 'finished'}: {task.detail or 'its server died'}")
        missing = []
    # What was skipped, refused or discarded is not run any more; its answer may still be on its way.
    never = [name for name in missing if task.status is TaskStatus.OTHER and name in {"started", "ended"}]
    rest = [name for name in missing if name not in never]
    for word, names in (("never", never), (outlook, rest), ("unknown", unseen)):
        if names:
            yield line((f"  {word:<9}{', '.join(names)}", "muted"))


_END: Final = {
    TaskStatus.QUEUED: "ended",
    TaskStatus.RUNNING: "ended",
    TaskStatus.DONE: "finished",
    TaskStatus.FAILED: "failed",
    TaskStatus.LOST: "ended",
    TaskStatus.OTHER: "ended",
}
