"""The load process: an open-model generator run by Locust, started as `python -m harness.load`. This module patches nothing."""
