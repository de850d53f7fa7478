"""Load from several machines: the process that others join, theirs that joins, and what the two say, by Locust's protocol."""
