"""What each figure on the screen is: what it says, how it is measured, what is normal, and what to try. Texts, no widgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["METRICS", "Metric", "tooltip"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure."""

    id: str
    name: str
    what: str
    how: str
    normal: str
    tips: str


METRICS: Final = (
    Metric(
        "client",
        "CLIENT SEES",
        "How things look to whoever sends requests: OK, SLOW, FAILING or DOWN.",
        "From response times and errors of the last seconds, compared with how the run began.",
        "OK all the time. It can be OK while the work behind it is minutes behind: that is what this program is about.",
        "If it is SLOW, look at the loop and at the pool; if DOWN, at the server's log (l).",
    ),
    Metric(
        "work",
        "WORK SEES",
        "How things look to the work behind the answers: OK, SLOW, BEHIND, FAILING or DOWN.",
        "From the time until done, the backlog's growth, and tasks that failed or were lost.",
        "OK: work is done soon after the answer, and the backlog comes back to nothing.",
        "BEHIND: more threads (P) if tasks wait, less load (u), or a queue with workers of its own.",
    ),
    Metric(
        "response_p95",
        "response p95",
        "95 of 100 clients waited no longer than this for their answer.",
        "From when a request was due, not from when it was sent, to the last byte: a stalled server cannot hide its queue.",
        "Flat, and far below what a person notices (100 ms).",
        "Rising with the backlog: the tasks take from the answers (shared pool, the interpreter's lock, the event loop).",
    ),
    Metric(
        "done_p95",
        "time to done p95",
        "95 of 100 finished tasks were done this long after their request was due.",
        "From the server's own record of each task, on the same clock as the requests.",
        "Response time plus the time that the work takes.",
        "Far above the response: the pool is too small, or the tasks too slow. Compare busy threads with the pool.",
    ),
    Metric(
        "hidden_wait",
        "hidden wait",
        "How many times longer the work takes than the client can see: time to done over response.",
        "Both p95 of the same interval, of a run that is over of the whole run; the shaded gap between the two lines.",
        "What the work itself takes, and steady.",
        "Opening like scissors: the backlog grows. At the present rate it never comes back.",
    ),
    Metric(
        "oldest",
        "oldest unfinished",
        "For how long the oldest unfinished task has been due: time to done is at least this.",
        "From the rows of tasks that are accepted and not ended. Drawn dashed: it is a lower bound.",
        "Below the time to done.",
        "A straight climb while other tasks finish: one task hangs. Open the task list (t).",
    ),
    Metric(
        "backlog",
        "backlog",
        "Tasks accepted and not started.",
        "The difference of two counters in the server's shared page, also readable while the server is blocked or dead.",
        "Close to nothing, and back to it after a spike. A kill loses all of it.",
        "Growing: more comes in than the pool can finish (deficit). Little's law: wait = backlog / finished per second.",
    ),
    Metric(
        "pool",
        "pool",
        "Threads that run `def` tasks, and how many of them are busy.",
        "Gauges of the server's page, sampled from outside.",
        "Busy about rate times mean run time, with room to spare.",
        "100 % for long (saturated): the pool is the limit. P adds threads while it runs, which tells whether that helps.",
    ),
    Metric(
        "busy",
        "running",
        "Tasks started and not ended.",
        "From the server's counters; for `async def` tasks there is no pool and so no limit.",
        "At most the pool size for `def` tasks.",
        "A kill interrupts all of them, some after they have had half their effect.",
    ),
    Metric(
        "loop_lag",
        "loop lag",
        "How late the server's event loop comes to what is due.",
        "By a heartbeat on the loop; while it is blocked its age counts, and the function that holds it is named.",
        "A few milliseconds.",
        "Hundreds: an `async def` task calls something that blocks. Make it `def`, or await.",
    ),
    Metric(
        "lost",
        "lost",
        "Tasks that will never be done because their server died: queued, or interrupted while running.",
        "From the rows of the dead boot and from what has arrived in the world, not from guesses.",
        "0. Each acknowledged one is a broken promise.",
        "Drain on SIGTERM and give it time; for kills only a queue outside the process helps.",
    ),
    Metric(
        "errors",
        "errors",
        "Requests refused, and requests of which nobody can say what became of them. The row `bad` below the curves shows when; "
        "below the backlog it shows when tasks failed.",
        "Complete refusals apart from answers that broke off or never came: those are indeterminate, never counted as failed.",
        "0 %.",
        "503 with a queue limit is meant so; see the server's log for the rest.",
    ),
    Metric(
        "offered",
        "offered / answered",
        "Requests due per second, and answers per second.",
        "By the plan's schedule, and by the load processes' rows, over the last seconds.",
        "The same.",
        "Fewer answered than offered: the server does not keep up, or the generator does not (late, shed).",
    ),
    Metric(
        "finished",
        "accepted / finished",
        "Tasks per second that came in, and that ended.",
        "From the server's rows over the last seconds; the difference is the deficit.",
        "The same, on average.",
        "Finished stays below accepted: that is the capacity, pool / mean run time. See `afterload capacity`.",
    ),
    Metric(
        "drain",
        "drain if idle",
        "How long the backlog would take if nothing more came.",
        "Backlog and running over finished per second.",
        "Well below the 30 s that a Kubernetes pod is given to end.",
        "Longer than the grace of your deploys: every deploy loses work.",
    ),
    Metric(
        "in_flight",
        "in flight",
        "Requests sent and not answered yet.",
        "Counters of the load processes.",
        "Rate times response time.",
        "Growing: the server answers slower than it is asked.",
    ),
    Metric(
        "heat",
        "heat map",
        "How many requests (or tasks) had which latency, over time; `i`: how much time was spent there.",
        "Buckets of the latency's logarithm; the darkest cell is the fullest. The top row never got an answer.",
        "One narrow band.",
        "Two bands are two kinds of requests, or a lock; a fan that opens upwards is a queue.",
    ),
    Metric(
        "server_cpu",
        "server CPU and memory",
        "What the server's processes use: shares of one core, resident memory.",
        "By psutil from outside.",
        "CPU below one core a process; memory flat.",
        "Memory that grows with the backlog: each pending task keeps its arguments.",
    ),
    Metric(
        "load_cpu",
        "load CPU, late, shed",
        "What the load generator uses, and how often it was too late itself.",
        "Its own accounts: late is sent after it was due, shed is not sent at all, and said so.",
        "Below 70 % of a core, nothing shed.",
        "Otherwise the figures are about the generator: --processes 2, or a lower rate.",
    ),
    Metric(
        "ui",
        "ui",
        "What this screen uses itself, of one core: it shares the machine with what is measured.",
        "Processor time of this process over the last seconds. In large runs findings are looked for by another one, at a low "
        "priority, which is not in it.",
        "Below 10 %.",
        "--fps 2, a smaller terminal, or look at the run afterwards: afterload replay.",
    ),
)
_BY_ID: Final = {metric.id: metric for metric in METRICS}


def tooltip(name: str) -> str:
    """What a metric is, in a few lines. Raises KeyError for one that is not explained."""
    metric = _BY_ID[name]
    return f"{metric.what}\nNormal: {metric.normal}\nTry: {metric.tips}"
