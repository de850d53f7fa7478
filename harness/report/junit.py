"""The verdict as JUnit XML: what CI servers show as test cases. Pure: no clock, no files.

A limit that is broken is a failure. What makes the figures unfit to judge by, such as a broken invariant, is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from harness.headline import headline
from harness.schema import Summary
from harness.slotext import slo_lines
from harness.text import render

__all__ = ["junit"]

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, not even escaped."""


@dataclass(frozen=True, slots=True)
class _Case:
    kind: str
    name: str
    outcome: Literal["passed", "failure", "error"] = "passed"
    message: str = ""


def junit(summary: Summary, name: str) -> str:
    """One suite: the verdict, each limit, each invariant. `name`: of the run."""
    cases = [_verdict(summary), *_limits(summary), *_invariants(summary)]
    counts = {outcome: str(sum(case.outcome == outcome for case in cases)) for outcome in ("failure", "error")}
    totals = {"tests": str(len(cases)), "failures": counts["failure"], "errors": counts["error"]}
    root = ElementTree.Element("testsuites", {"name": "afterload", **totals})
    time_s = f"{summary.load_s or 0.0:.3f}"
    suite = ElementTree.SubElement(root, "testsuite", {"name": _legal(name), **totals, "skipped": "0", "time": time_s})
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in _figures(summary).items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": _legal(value)})
    group = _legal(str(summary.plan.get("scenario") or "own-app"))
    for case in cases:
        classname = f"afterload.{group}.{case.kind}"
        element = ElementTree.SubElement(suite, "testcase", {"classname": classname, "name": _legal(case.name), "time": "0"})
        if case.outcome != "passed":
            told = ElementTree.SubElement(element, case.outcome, {"type": case.kind, "message": _legal(case.message)})
            told.text = _legal(case.message)
    ElementTree.SubElement(suite, "system-out").text = _legal(render(summary))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _verdict(summary: Summary) -> _Case:
    if summary.verdict == "PASS":
        return _Case("verdict", "the figures can be trusted and every limit holds")
    outcome: Literal["failure", "error"] = "error" if summary.verdict == "INCONCLUSIVE" else "failure"
    message = " ".join([f"{summary.verdict}: {headline(summary)}", *summary.reasons])
    return _Case("verdict", "the figures can be trusted and every limit holds", outcome, message)


def _limits(summary: Summary) -> Sequence[_Case]:
    outcomes: dict[bool | None, Literal["passed", "failure", "error"]] = {True: "passed", False: "failure", None: "error"}
    return [
        _Case("limit", limit.name or "limits", outcomes[limit.holds], f"{limit.name}: {limit.words}")
        for limit in slo_lines(summary)
    ]


def _invariants(summary: Summary) -> Sequence[_Case]:
    return [
        _Case("invariant", f"{each.id} {each.title}", "passed" if each.holds else "error", f"{each.title}: {each.detail}")
        for each in summary.invariants
    ]


def _figures(summary: Summary) -> dict[str, str]:
    figures = {
        "verdict": summary.verdict,
        "broken_promises": summary.tasks.broken_promises,
        "lost": summary.tasks.lost,
        "backlog_max": summary.tasks.backlog_max,
        "response_p95_ms": summary.requests.response_ms.p95,
        "response_p99_ms": summary.requests.response_ms.p99,
        "done_p95_ms": summary.tasks.done_ms.p95,
        "done_p99_ms": summary.tasks.done_ms.p99,
    }
    return {key: "" if value is None else str(value) for key, value in figures.items()}


def _legal(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
