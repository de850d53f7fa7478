"""The reference of findings, from their catalogue."""

from __future__ import annotations

from harness.findings import CATALOGUE

__all__ = ["findings_text"]

_INTRO = """# Findings: what each one means

Sentences in the summary of a run, made from what was measured and from nothing else: a run that shows no reason for one has none.
`findings` in `summary.json` has all of them, with the figures they rest on in `evidence` and the next thing to try in `next`; the
text shows the first eight. Graver ones come first (`critical`, `warning`, `info`), and among equals those that explain more. One
cause makes one finding.

Rates, run times and use of threads are those of the longest time in which one boot was up under load, without the warm-up.
The mean run time is the time that tasks ran divided by the number that ended (the service demand of operational analysis:
Denning and Buzen, The Operational Analysis of Queueing Network Models, 1978), so that tasks which hang count while they
hang.

"""


def findings_text() -> str:
    """docs/findings-reference.md: every kind of finding, in the order in which they are shown."""
    entries = [f"## {entry.id}\n\n*{' or '.join(entry.severities)}* · {entry.when}\n\nNext: {entry.do}\n" for entry in CATALOGUE]
    return _INTRO + "\n".join(entries)
