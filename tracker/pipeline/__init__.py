"""The use cases: receive, drain, stage A (ingest), stage B (decide), stage C (push), poll; and what they share."""
