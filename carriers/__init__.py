"""Carriers and aggregators: one module each. README.md says how to add one."""
