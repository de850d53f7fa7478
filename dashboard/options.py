"""How the screen is to look, from options, environment and terminal. Values in, values out; Textual is not needed to know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO, cast

__all__ = [
    "DEFAULT_FPS",
    "FEW_CPUS",
    "GLYPHS",
    "SLOW_FPS",
    "THEMES",
    "Glyphs",
    "ScreenOptions",
    "has_screen",
    "is_in_browser",
    "options_for",
]

Glyphs = Literal["braille", "block", "ascii"]

GLYPHS: Final[tuple[Glyphs, ...]] = ("braille", "block", "ascii")
THEMES: Final = ("dark", "light", "ansi", "ansi-light", "colour-blind")
DEFAULT_FPS: Final = 4.0
SLOW_FPS: Final = 2.0
"""Over SSH, where each picture costs the line."""
FEW_CPUS: Final = 2
FEW_CPUS_FPS: Final = 1.0
"""Where the run has no processor to spare for somebody who looks on: four a second made its response p99 half as much again."""


@dataclass(frozen=True, slots=True)
class ScreenOptions:
    """What was asked for, or found out."""

    fps: float = DEFAULT_FPS  # new pictures a second at most; keys are answered at once
    glyphs: Glyphs = "braille"
    theme: str = "dark"
    is_plain: bool = False  # sentences, one a line, instead of a screen
    read_only: bool = False  # looks on, changes nothing
    is_slow_line: bool = False
    keys: Path | None = None  # file of keys; None: the user's own, if there is one


def options_for(
    *,
    fps: float | None,
    glyphs: str | None,
    theme: str | None,
    is_plain: bool,
    read_only: bool = False,
    keys: Path | None = None,
    env: Mapping[str, str] | None = None,
    encoding: str | None = None,
    is_live: bool = True,
    n_cpus: float | None = None,
) -> ScreenOptions:
    """The options given, and for the rest what suits the terminal; of a run that goes on (`is_live`) also the machine."""
    env = os.environ if env is None else env
    is_slow = any(env.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
    can_braille = _encoding(env, encoding).lower().replace("-", "").startswith("utf8")
    is_crowded = is_live and (n_cpus or _n_cpus()) <= FEW_CPUS
    usual = FEW_CPUS_FPS if is_crowded else SLOW_FPS if is_slow else DEFAULT_FPS
    return ScreenOptions(
        fps=fps or usual,
        glyphs=cast("Glyphs", glyphs or ("braille" if can_braille else "ascii")),
        theme=theme or "dark",
        is_plain=is_plain,
        read_only=read_only,
        is_slow_line=is_slow,
        keys=keys,
    )


def _n_cpus() -> float:
    """That this process may use: a control group may allow less than there are."""
    n_cpus = len(os.sched_getaffinity(0))
    if n_cpus <= FEW_CPUS:
        return n_cpus
    from harness.host import Host  # where it makes a difference

    quota = Host().cpu_quota
    return n_cpus if quota is None else min(n_cpus, quota)


def has_screen(stdin: TextIO, stderr: TextIO, env: Mapping[str, str]) -> bool:
    """Whether there is a terminal to draw on. Textual reads from standard input, draws on standard error and asks nobody."""
    if is_in_browser(env):
        return True
    try:
        return stdin.isatty() and stderr.isatty() and env.get("TERM", "") != "dumb"
    except ValueError:  # closed
        return False


def is_in_browser(env: Mapping[str, str]) -> bool:
    """Whether textual-serve has started this process: standard input and output are its pipes then."""
    return "WebDriver" in env.get("TEXTUAL_DRIVER", "")


def _encoding(env: Mapping[str, str], encoding: str | None) -> str:
    if encoding is not None:
        return encoding
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := env.get(name))), "")
    # Without any locale Python itself takes UTF-8 (PEP 538, 540), and so do today's terminals.
    return locale.partition(".")[2] if locale not in {"", "C", "POSIX"} else "utf-8" if locale == "" else "ascii"
