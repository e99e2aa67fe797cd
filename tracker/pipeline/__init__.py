"""The use cases: receive, drain, stage A (facts), stage B (decide), stage C (push), poll, heal, replay, explain."""
