"""Configurations measured side by side: which figures differ, by how much, and whether that is more than chance."""
