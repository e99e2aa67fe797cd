"""Trackwright: keeps an order's shipping status and order status in step."""

__version__ = "0.1.0"
GARBAGE = (20_000, 20, 50)  # thresholds: what a start makes stays, and collecting it again and again takes 70 ms
