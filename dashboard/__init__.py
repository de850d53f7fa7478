"""The screen over a run directory: what a run does while it does it, and any earlier run as it was at any instant.

It follows the files that the run writes and asks nothing of the run itself: whatever becomes of the screen, the run goes on.
"""
