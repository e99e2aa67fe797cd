"""Telling: what happened, to other programs (endpoints) and to the people who look after it (targets).

A message is made in the transaction that made the fact, or, of findings, from a mark that this transaction set; it is sent
later, at least once, under an id that stays the same.
"""
