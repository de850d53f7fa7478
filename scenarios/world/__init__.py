"""The real servers that tasks talk to. Each writes an effect row for what arrives, keyed by the operation id that travels with it."""
