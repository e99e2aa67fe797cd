"""The command line: one module a command group."""

import gc

from tracker import GARBAGE

gc.set_threshold(*GARBAGE)
