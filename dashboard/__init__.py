"""The screen over a run directory. Comes with a later version; this package keeps its place and its import rules."""
