"""Questions over a screen, each with a typed answer, and messages that have to be read."""
