"""Stage A: payloads become facts. `step` is the whole of it; each other module is one kind of fact, or what they share."""
