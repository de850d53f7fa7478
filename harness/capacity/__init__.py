"""The highest rate at which an app holds its limits and its backlog stays bounded: searched for, measured, and predicted."""
