"""Options of all commands that show something, and how each of them ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dashboard.options import GLYPHS, THEMES, ScreenOptions, options_for
from dashboard.refusing import require_run
from harness.errors import UsageError
from harness.numbers import NumberWithin

__all__ = ["read_options", "resolved_run", "screen_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--fps",
        type=NumberWithin(0.2, 20),
        metavar="N",
        help="New pictures a second; keys are answered at once.  [default: 4; over SSH 2; with two processors 1]",
    ),
    click.option(
        "--glyphs",
        type=click.Choice(GLYPHS),
        envvar="AFTERLOAD_GLYPHS",
        help="What charts are drawn with.  [default: braille, without UTF-8 ascii]",
    ),
    click.option("--theme", type=click.Choice(THEMES), envvar="AFTERLOAD_THEME", help="Colours.  [default: dark]"),
    click.option(
        "--plain", "is_plain", is_flag=True, help="One sentence a line for each change, no screen: for screen readers and pipes."
    ),
    click.option(
        "--keys",
        type=click.Path(path_type=Path),
        envvar="AFTERLOAD_KEYS",
        metavar="FILE",
        help="Your own keys (docs/dashboard.md).  [default: keys.toml in the configuration folder]",
    ),
)


def screen_options(command: Decorated) -> Decorated:
    """Adds them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_options(
    *,
    fps: float | None,
    glyphs: str | None,
    theme: str | None,
    is_plain: bool,
    keys: Path | None,
    read_only: bool = False,
    is_live: bool = True,
) -> ScreenOptions:
    """What was given, and for the rest what suits the terminal."""
    return options_for(
        fps=fps, glyphs=glyphs, theme=theme, is_plain=is_plain, read_only=read_only, keys=keys, env=os.environ, is_live=is_live
    )


def resolved_run(run_directory: Path) -> Path:
    """The directory itself: what `latest` points to may change. Raises UsageError if there is none, or no run in it."""
    if not run_directory.is_dir():
        named = "no run yet" if run_directory == Path("runs/latest") else f"no run directory {run_directory}"
        raise UsageError(f"there is {named}", "afterload runs lists those that there are; afterload run email makes one")
    require_run(run_directory)
    real = run_directory.resolve()
    here = Path.cwd()
    return real.relative_to(here) if real.is_relative_to(here) and sys.stdin is not None else real
