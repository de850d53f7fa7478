"""The harness: plan, run, rows, accounting, statistics, verdict.

Starts servers, scenarios and load by name and reads what they write.
"""
