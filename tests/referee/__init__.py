"""Other people's test suites as a referee: FastAPI's own, with its test client sending to the bundled server (CONTRIBUTING.md)."""
