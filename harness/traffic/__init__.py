"""What is sent to someone's own app: requests spelled out, generated from the app's schema, or written as a locustfile."""
