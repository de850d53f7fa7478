"""The commands, one a file; harness/commands/main.py puts them together."""
