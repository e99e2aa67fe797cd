"""`make bench`: each path beside its floor, interleaved, medians of at least three runs; prints a table and writes JSON.

Figures are ratios: only they carry over from one machine to another. What is measured is real: real databases, real
parsers, real HTTP on loopback. Goals: see the table; the proof of each is a later matter, the floor is here from the start.
"""
