"""`python -m harness`: the same as `afterload`."""

from harness.entry import main

main()
