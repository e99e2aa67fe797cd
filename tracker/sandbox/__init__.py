"""Local servers that speak the carriers' and the platform's own wire formats, and the scenarios they play."""
