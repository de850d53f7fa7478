"""`python -m dashboard`: the same as `afterload`."""

from dashboard.entry import main

main()
