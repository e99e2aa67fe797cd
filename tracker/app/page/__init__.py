"""The page to look at: status, drift, findings, an order as a picture. It changes nothing, and is off without a token."""
