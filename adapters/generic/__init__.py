"""A selling platform that the YAML describes: how an order is read, how changed ones are swept, what may be written and how.

`deploy/examples/README.md` says how an API is described; `deploy/examples/ecwid.yaml` is one. Nothing is written but what the
description says. Each part names documented answers (`sample`), and is read with them before it is used.
"""

from adapters.generic.settings import Settings
from adapters.generic.shop import Generic

__all__ = ["Generic", "Settings"]
