"""`python -m harness`: the same as `afterload`."""

from harness.cli import main

main(prog_name="afterload")
