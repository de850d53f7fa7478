"""Other people's test suites as a referee: FastAPI's own, whose test client sends to the bundled server (CONTRIBUTING.md)."""
