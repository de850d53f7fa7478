"""The runs that there are to look at: those in `runs/`, and those that comparisons and searches for a capacity have made.

What holds runs stands in the list as one row, which opens: a comparison of twenty blocks should not hide everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboard.refusing import runs_within
from harness.runs import RunEntry, list_runs

__all__ = ["Item", "Row", "read_shelf", "rows_of"]


@dataclass(frozen=True, slots=True)
class Item:
    """A run, or a directory that holds runs."""

    entry: RunEntry
    members: tuple[RunEntry, ...] = ()  # the newest first; empty: it is a run

    @property
    def what(self) -> str:
        """The kind of directory, in a word."""
        if not self.members:
            return self.entry.title
        return "capacity" if (self.entry.path / "stages").is_dir() else "comparison"


@dataclass(frozen=True, slots=True)
class Row:
    """What stands in the list."""

    entry: RunEntry
    item: Item
    is_open: bool = False

    @property
    def is_folder(self) -> bool:
        """It holds runs, and is none."""
        return bool(self.item.members) and self.entry is self.item.entry

    @property
    def name(self) -> str:
        """A member is named by where it is in its folder."""
        if self.is_folder:
            return f"{'▾' if self.is_open else '▸'} {self.entry.name}"
        return f"  {self.entry.path.relative_to(self.item.entry.path)}" if self.item.members else self.entry.name

    @property
    def key(self) -> str:
        """Its own among all."""
        return str(self.entry.path)


def read_shelf(folders: Sequence[Path]) -> list[Item]:
    """All of them, the newest first; a folder that is not there holds none. Raises UsageError if one cannot be read."""
    items = [item for folder in folders if folder.is_dir() for item in _items(folder)]
    return sorted(items, key=lambda each: (-each.entry.began_s, each.entry.name))


def rows_of(items: Sequence[Item], opened: Collection[Path], words: Sequence[str]) -> list[Row]:
    """What is to be seen: members where their folder is open, and in any case those that a filter has found."""
    return list(_rows(items, opened, words))


def _rows(items: Sequence[Item], opened: Collection[Path], words: Sequence[str]) -> Iterator[Row]:
    for item in items:
        if not item.members:
            if _matches(words, _searched(item.entry)):
                yield Row(item.entry, item)
            continue
        text = f"{item.entry.name} {item.what}".lower()
        is_open = item.entry.path in opened
        found = [each for each in item.members if words and _matches(words, f"{text} {each.path} {_searched(each)}".lower())]
        if found or _matches(words, text):
            yield Row(item.entry, item, is_open or bool(found))
            for each in item.members if is_open and not words else found:
                yield Row(each, item)


def _items(folder: Path) -> Iterator[Item]:
    for entry in list_runs(folder):
        if entry.state != "no run":
            yield Item(entry)
        elif members := _members(entry.path):
            yield Item(entry, members)


def _members(path: Path) -> tuple[RunEntry, ...]:
    parents = sorted({run.parent for run in runs_within(path)})
    found = [each for parent in parents for each in list_runs(parent) if each.state != "no run"]
    return tuple(sorted(found, key=lambda each: (-each.began_s, str(each.path))))


def _searched(entry: RunEntry) -> str:
    return f"{entry.name} {entry.title} {entry.configuration} {entry.verdict or entry.state}".lower()


def _matches(words: Sequence[str], text: str) -> bool:
    return all(word in text for word in words)
