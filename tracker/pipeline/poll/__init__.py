"""The poll queue: `step` is the whole of it; each other module is one kind of question, or what they share."""
