"""Trackwright: keeps an order's shipping status and order status in step."""

__version__ = "0.1.0"
