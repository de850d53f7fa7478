"""What the live, tasks and compare screens show, worked out from frames: pure, and the small widgets that show it."""
