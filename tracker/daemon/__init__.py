"""The process: composition root, receiver, bells, scheduler, outgoing HTTP, telemetry."""
