"""Writes what a search came to: capacity.json, the page for people, and Markdown for a pull request."""

from __future__ import annotations

from pathlib import Path

from harness.capacity.folder import Folder
from harness.capacity.html import page
from harness.capacity.markdown import markdown
from harness.capacity.result import configuration
from harness.capacity.schema import Capacity
from harness.environment import describe_environment

__all__ = ["collect", "write"]


def collect(folder: Folder) -> Capacity:
    """What is known by now, of the configurations that have been begun."""
    design = folder.design
    found = [
        configuration(asking, design, told, folder.of(asking))
        for asking in design.configurations
        if (told := list(folder.told(asking)))
    ]
    first = design.configurations[0]
    return Capacity(
        title=design.title,
        began=design.began,
        within=first.options.within,
        limits=tuple(first.plan.get("slos", ())),
        environment=describe_environment(Path(first.plan.get("cwd") or ".")),
        configurations=tuple(found),
    )


def write(folder: Folder, found: Capacity) -> None:
    """Raises OSError if it can't."""
    for name, text in (
        ("capacity.json", found.model_dump_json(indent=1) + "\n"),
        ("capacity.md", markdown(found)),
        ("capacity.html", page(found, [str(folder.of(each).relative_to(folder.path)) for each in folder.design.configurations])),
    ):
        (folder.path / name).write_text(text, encoding="utf-8")
