"""The documentation, and what of it is generated: `python -m docs.generate`."""
