"""What is done to the server, or around it, by a fault that does not end the boot: each with a proof that it began and ended."""

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.disturbances.full_disk import FullDisk
from harness.disturbances.hog import Hog
from harness.disturbances.squeeze import Squeeze
from harness.disturbances.stop import Stop
from harness.disturbances.workers import HangUp, OneWorker, Replacing, Rolling
from harness.disturbances.world import WorldControl, WorldTrouble

__all__ = [
    "DidNotLand",
    "Disturbance",
    "FullDisk",
    "HangUp",
    "Hog",
    "OneWorker",
    "Receipt",
    "Replacing",
    "Rolling",
    "Squeeze",
    "Stop",
    "WorldControl",
    "WorldTrouble",
]
