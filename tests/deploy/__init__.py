"""What stands in deploy/, tried as far as one machine without an engine, a cluster or a service manager can try it."""
