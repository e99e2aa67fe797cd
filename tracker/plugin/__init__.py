"""What the author of a carrier or platform imports, and all of it."""
