"""What is sent to an app of one's own: from options, from a plan, later from its schema or a locustfile."""

from harness.traffic.requests import parse_request, templates_of

__all__ = ["parse_request", "templates_of"]
