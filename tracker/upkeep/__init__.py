"""What runs by the clock or by an operator's word: monitors, expiry, retention, replay."""
