"""A comparison as Markdown: short enough for a comment on a pull request. Pure: no clock, no files."""

from __future__ import annotations

from collections.abc import Iterator

from harness.compare.judging import drift_words
from harness.compare.record import Comparison, ContrastRecord
from harness.compare.text import about, effect_of, verdict_word
from harness.compare.words import change, interval, value_of
from harness.report.markdown import plain_text

__all__ = ["markdown"]

_HOLDS = {True: "✅", False: "❌", None: "⚠️"}


def markdown(comparison: Comparison) -> str:
    """A heading, what must not have changed, a sentence and a table for each configuration, what to know."""
    return "\n\n".join(part for part in _parts(comparison) if part) + "\n"


def _parts(comparison: Comparison) -> Iterator[str]:
    broken = [gate for gate in comparison.gates if not gate.holds]
    symbol = (
        ""
        if not comparison.gates
        else f"{_HOLDS[False if any(gate.holds is False for gate in broken) else None if broken else True]} "
    )
    yield f"### {symbol}afterload: {plain_text(comparison.title)} compared"
    yield plain_text(about(comparison))
    yield "\n".join(
        f"- {_HOLDS[gate.holds]} `{gate.text}` of {plain_text(gate.configuration)}: {plain_text(gate.why)}"
        for gate in comparison.gates
    )
    for contrast in comparison.contrasts:
        yield from _contrast(contrast, comparison.baseline)
    if comparison.stored is not None:
        for contrast in comparison.stored.contrasts:
            yield from _contrast(contrast, comparison.stored.name)
    notes = [
        *comparison.notes,
        *(comparison.stored.notes if comparison.stored else ()),
        *(drift_words(each, comparison.baseline) for each in comparison.drifts),
    ]
    yield "\n".join(f"- ⚠️ {plain_text(note)}" for note in notes)


def _contrast(contrast: ContrastRecord, base: str) -> Iterator[str]:
    yield f"**{plain_text(contrast.sentence)}**"
    lines = [
        f"| | {plain_text(base)} | {plain_text(contrast.configuration)} | change | 95 % interval | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for figure in contrast.figures:
        if figure.decision == "none":
            continue
        effect = effect_of(figure)
        word = verdict_word(figure) + (f" (about {figure.needed:,} blocks needed)" if figure.needed else "")
        cells = (value_of(effect.base, figure.id), value_of(effect.other, figure.id), change(effect), interval(effect), word)
        lines.append(f"| {figure.title} | {' | '.join(cells)} |")
    yield "\n".join(lines) if len(lines) > 2 else ""
    yield "\n".join(
        f"- {plain_text(contrast.configuration if why.of == 'other' else base)}: {plain_text(why.text)}" for why in contrast.why
    )
