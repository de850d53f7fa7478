"""Small apps under test: each file is one scenario, with its app, its traffic, its world and what must have arrived there.

`python -m scenarios --help` is how the harness talks to this folder; `scenarios.entry` is what a server is started with.
"""
