"""The peer's parser on a body from standard input: prints its CPU time a call, in microseconds (`make bench` runs it).

karrio 2026.1.32 and its UPS and FedEx connectors, from the registry, as `parse_tracking_response` of each stands there.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from types import SimpleNamespace


def main() -> None:
    name, body = sys.argv[1], sys.stdin.buffer.read()
    parser = importlib.import_module(f"karrio.providers.{name}.tracking").parse_tracking_response
    lib = importlib.import_module("karrio.lib")
    settings = SimpleNamespace(
        carrier_name=name, carrier_id=name, connection_config=SimpleNamespace(), tracking_url="{}"
    )

    def parse() -> int:
        text = body.decode()
        answer = lib.Deserializable([("1", json.loads(text))] if name == "ups" else json.loads(text))
        details, messages = parser(answer, settings)
        assert not messages, messages
        return len(details[0].events)

    events = parse()
    assert events == 18, events
    count, began = 0, time.process_time()
    while time.process_time() - began < 0.5:
        parse()
        count += 1
    print((time.process_time() - began) / count * 1e6)


main()
