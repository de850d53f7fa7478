"""A comparison as text, for a terminal or a log, in lines of at most 80 columns from 70 on. A pure function.

Every meaning is in a word and a symbol; colour only repeats it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, Literal

from harness.compare.effects import Effect
from harness.compare.judging import drift_words
from harness.compare.record import Comparison, ContrastRecord, FigureRecord, GateRecord
from harness.compare.words import change, interval, value_of
from harness.wording import counted, lines_of, listed, share

__all__ = ["DECISIONS", "about", "effect_of", "overview", "render", "verdict_word"]

Role = Literal["good", "bad", "unsure", "title"]

_ANSI: Final[dict[Role, str]] = {
    "good": "\x1b[38;2;0;158;115m",
    "bad": "\x1b[38;2;213;94;0m",
    "unsure": "\x1b[38;2;230;159;0m",
    "title": "\x1b[1m",
}
_RESET: Final = "\x1b[0m"
_TITLE, _VALUE, _CHANGE, _INTERVAL = 18, 11, 11, 16
DECISIONS: Final = {"better": "✔ better", "worse": "✖ worse", "equal": "= equal", "unclear": "? unclear", "none": ""}
_SEEN: Final = {"better": "▸ better", "worse": "▸ worse"}
_COLUMN: Final = 13  # of the overview
_ROLES: Final[dict[str, Role]] = {"better": "good", "worse": "bad", "unclear": "unsure"}
_ASCII: Final = str.maketrans({"✔": "+", "✖": "x", "×": "x", "▸": ">", "–": "-", "→": ">", "…": "~"})
_OVERVIEW: Final = ("p95", "done_p50", "done_p95", "broken_promises", "cpu")


def render(comparison: Comparison, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """The whole comparison, with a newline at the end."""
    width = max(70, width)
    blocks = [_head(comparison, width)]
    contrasts = comparison.contrasts
    if contrasts and not any(_is_known(each) for each in contrasts):
        # A table of nothing for each configuration would hide why.
        blocks.append(["Nothing could be compared: no figure is known of two configurations."])
        contrasts = []
    if len(contrasts) > 1:
        blocks.append(
            [_painted(line, "title", color) if not number else line for number, line in enumerate(overview(comparison, width))]
        )
    for contrast in contrasts:
        blocks.append(list(_sentence(contrast, width, color)))
        if _is_known(contrast):
            blocks.append(list(_table(comparison, contrast, color)))
        if why := list(_why(comparison, contrast, width)):
            blocks.append(why)
    if not comparison.contrasts:
        blocks.append(list(_alone(comparison)))
    notes = [*comparison.notes, *(drift_words(each, comparison.baseline) for each in comparison.drifts)]
    if notes:
        blocks.append([line for note in notes for line in _hanging("▲" if not ascii_only else "!", note, width)])
    if comparison.gates:
        blocks.append([line for gate in comparison.gates for line in _gate(gate, width, color)])
    text = "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"
    return text.translate(_ASCII) if ascii_only else text


def verdict_word(figure: FigureRecord) -> str:
    """`✔ better`, `? unclear`."""
    return _SEEN[figure.direction] if figure.decision == "seen" else DECISIONS[figure.direction or figure.decision]


def overview(comparison: Comparison, width: int = 80) -> Iterator[str]:
    """Of several configurations: what each came to in a few figures."""
    widest = max(len(each.label) for each in comparison.configurations)
    most = min(max((width - widest - 1) // _COLUMN, 3), len(_OVERVIEW))
    # A column of zeros, as of promises that nobody broke, would take the place of one that tells something.
    shown = [name for name in _OVERVIEW if any(_is_some(_figure(each, name)) for each in comparison.contrasts)][:most]
    titles = {name: figure.title for each in comparison.contrasts for name in shown if (figure := _figure(each, name))}
    first = min(widest, width - 1 - _COLUMN * len(shown)) + 1
    yield " " * first + "".join(f"{titles[name][: _COLUMN - 1].rstrip():>{_COLUMN}}" for name in shown)
    base = {name: next(figure for each in comparison.contrasts if (figure := _figure(each, name))) for name in shown}
    cells = "".join(f"{value_of(_known(base[name].base, base[name], of='base'), name):>{_COLUMN}}" for name in shown)
    yield f"{_cut(comparison.baseline, first - 1):<{first}}{cells}"
    for contrast in comparison.contrasts:
        cells = ""
        for name in shown:
            figure = _figure(contrast, name)
            # The symbol of the table: what was only seen is no check and no cross.
            mark = "" if figure is None else verdict_word(figure)[:1] or " "
            value = "–" if figure is None else value_of(_known(figure.other, figure, of="other"), name)
            cells += f"{f'{value} {mark}':>{_COLUMN}}"
        yield f"{_cut(contrast.configuration, first - 1):<{first}}{cells}"


def effect_of(figure: FigureRecord) -> Effect:
    """As it was worked out."""

    def number(value: float | None) -> float:
        return math.nan if value is None else value

    return Effect(
        scale=figure.scale,
        n=figure.n,
        base=_known(figure.base, figure, of="base"),
        other=_known(figure.other, figure, of="other"),
        estimate=number(figure.estimate),
        low=number(figure.low),
        high=number(figure.high),
        p=number(figure.p),
        spread=number(figure.spread),
        never_base=figure.never_base,
        never_other=figure.never_other,
        n_base=figure.n if figure.n_base is None else figure.n_base,
        n_other=figure.n if figure.n_other is None else figure.n_other,
    )


def about(comparison: Comparison) -> str:
    """What was compared, and how."""
    return " ".join(_head(comparison, 10_000))


def _head(comparison: Comparison, width: int) -> list[str]:
    factors = "; ".join(f"{each.key}: {listed(each.values)}" for each in comparison.factors) or comparison.baseline
    runs = {
        "blocks": f"{comparison.complete} of {counted(comparison.blocks, 'block')}, each with a run of every configuration",
        "runs": f"{counted(len(comparison.runs), 'run')} made before",
        "pair": "one run each",
    }[comparison.kind]
    text = (
        f"{comparison.title}: {factors}. {runs[0].upper()}{runs[1:]}. Less than {share(comparison.min_effect)} does not matter."
    )
    return lines_of(text, width)


def _sentence(contrast: ContrastRecord, width: int, color: bool) -> Iterator[str]:
    for line in lines_of(contrast.sentence, width):
        yield _painted(line, "title", color)


def _table(comparison: Comparison, contrast: ContrastRecord, color: bool) -> Iterator[str]:
    base, other = _short_labels(comparison, contrast.configuration)
    yield (
        f"{'':<{_TITLE}}{_cut(base, _VALUE - 1):>{_VALUE}}{_cut(other, _VALUE - 1):>{_VALUE}}"
        f"{'change':>{_CHANGE}}  {'95 % interval':<{_INTERVAL}}"
    ).rstrip()
    for figure in contrast.figures:
        if figure.decision == "none":
            continue
        effect = effect_of(figure)
        word = verdict_word(figure)
        if figure.decision == "unclear" and figure.needed is not None:
            word = f"? n~{figure.needed:,}"
        yield (
            f"{figure.title:<{_TITLE}}{value_of(effect.base, figure.id):>{_VALUE}}{value_of(effect.other, figure.id):>{_VALUE}}"
            # What is longer than its column has no interval beside it.
            f"{f'{change(effect):>{_CHANGE}}  {interval(effect)}':<{_CHANGE + 2 + _INTERVAL}} "
            f"{_painted(word, _ROLES.get(figure.direction or figure.decision), color)}"
        ).rstrip()
    if any(figure.decision == "seen" for figure in contrast.figures):
        yield "▸ in these runs; another run of each may come out otherwise"
    if any(figure.decision == "unclear" and figure.needed is not None for figure in contrast.figures):
        yield "? n~12: cannot be told; 12 blocks would, if it is as large as it looks, or matters"


def _alone(comparison: Comparison) -> Iterator[str]:
    """Of one configuration alone: what each of its runs came to."""
    yield f"{comparison.baseline}: {counted(sum(run.is_usable for run in comparison.runs), 'usable run')}"


def _why(comparison: Comparison, contrast: ContrastRecord, width: int) -> Iterator[str]:
    for number, why in enumerate(contrast.why):
        if not number:
            yield "Why"
        of = contrast.configuration if why.of == "other" else comparison.baseline
        yield from _hanging(" ·", f"{of}: {why.text}", width)


def _gate(gate: GateRecord, width: int, color: bool) -> Iterator[str]:
    symbol, role = {True: ("✔", "good"), False: ("✖", "bad"), None: ("?", "unsure")}[gate.holds]
    for line in _hanging(symbol, f"{gate.text} of {gate.configuration}: {gate.why}", width):
        yield _painted(line, role, color)  # type: ignore[arg-type]


def _hanging(symbol: str, text: str, width: int) -> Iterator[str]:
    indent = len(symbol) + 1
    for number, line in enumerate(lines_of(text, width - indent)):
        yield f"{symbol} {line}" if not number else " " * indent + line


def _short_labels(comparison: Comparison, configuration: str) -> tuple[str, str]:
    """In the heads of columns: of one factor the values alone."""
    keys = {tuple(re.findall(r"([\w.-]+)=", each.label)) for each in comparison.configurations}
    if len(keys) == 1 and len(names := next(iter(keys))) == 1:
        base, other = (label.removeprefix(f"{names[0]}=") for label in (comparison.baseline, configuration))
        if _cut(base, _VALUE - 1) != _cut(other, _VALUE - 1):
            return base, other
    return "baseline", "this"


def _is_known(contrast: ContrastRecord) -> bool:
    return any(figure.decision != "none" for figure in contrast.figures)


def _figure(contrast: ContrastRecord, name: str) -> FigureRecord | None:
    return next((each for each in contrast.figures if each.id == name and each.decision != "none"), None)


def _is_some(figure: FigureRecord | None) -> bool:
    return figure is not None and not figure.base == figure.other == 0


def _known(value: float | None, figure: FigureRecord, of: Literal["base", "other"]) -> float:
    if value is not None:
        return value
    return math.inf if (figure.never_base if of == "base" else figure.never_other) else math.nan


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _painted(text: str, role: Role | None, color: bool) -> str:
    return f"{_ANSI[role]}{text}{_RESET}" if color and role and text else text
