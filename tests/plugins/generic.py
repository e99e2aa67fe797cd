"""What the tests of described accounts share: the examples of deploy/, as their settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
SECRET = "${env:"


def described(name: str, section: str, **instead: Any) -> dict[str, Any]:
    """Return the settings of an example's one entry, each secret an invented one; `instead` replaces keys."""
    text = re.sub(r"\$\{env:(\w+)\}", r"canary-\1-0123456789", (EXAMPLES / f"{name}.yaml").read_text())
    entry: dict[str, Any] = yaml.safe_load(text)[section][name]
    common = {"uses", "codes", "webhook_token", "tracks", "budget", "mode", "policy", "sweep_every", "accounts"}
    found = {key: value for key, value in entry.items() if key not in common}
    if isinstance(found.get("webhook_secrets"), str):
        found["webhook_secrets"] = ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"]
    return {**found, **instead}
