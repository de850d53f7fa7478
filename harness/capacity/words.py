"""The answer of a search in words. Pure."""

from __future__ import annotations

from harness.capacity.schema import Answer

__all__ = ["sentence"]


def sentence(answer: Answer) -> str:
    """What was found, in a few sentences."""
    low, found, high = (None if each is None else _rate(each) for each in (answer.low, answer.found, answer.high))
    why = f" What gives way first: {answer.cause.text}." if answer.cause is not None else ""
    if found is None:
        return f"No rate was found that holds.{why}"
    if answer.state == "at least":
        return f"It holds {found}, and more could not be asked of it.{why}"
    confirmed = f"{found} held a longer stage." if answer.confirmed else f"{found} held; no longer stage confirmed it."
    between = f"between {low or 'nothing'} and {high}" if high is not None else f"at least {low or 'nothing'}"
    unfinished = " The search was not finished." if answer.state == "unfinished" else ""
    return f"The capacity is {between}; {confirmed}{unfinished}{why}"


def _rate(rate: float) -> str:
    return f"{rate:.3g}/s" if rate < 1000 else f"{rate:,.0f}/s"
