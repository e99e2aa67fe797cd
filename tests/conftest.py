"""What every test shares: which databases to run on."""

from __future__ import annotations
