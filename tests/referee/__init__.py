"""Other people's test suites as a referee: their test client sends to the bundled server (CONTRIBUTING.md)."""
