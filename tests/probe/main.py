"""Serves the app as a program of its own."""

import sys

import uvicorn
from app import app

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
