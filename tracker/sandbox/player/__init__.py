"""Plays a scenario: `player` from its beginning to its checks; the other modules are its parts."""
