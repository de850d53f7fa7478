"""Tests of the probe: real servers, real processes, nothing of the app changed."""
