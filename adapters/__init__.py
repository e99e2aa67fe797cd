"""Selling platforms (and sinks): one module each. README.md says how to add one."""
