"""The process: composition root, receiver, wake-ups, scheduler, outgoing HTTP, telemetry."""
