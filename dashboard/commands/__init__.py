"""The commands that show something in a terminal; textual is imported when one of them is run."""
