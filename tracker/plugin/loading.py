"""Import what somebody else wrote: where that fails, it says who, what and where, and is no defect of ours."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import ModuleType

from tracker.domain.errors import ConfigError

_OURS = str(Path(__file__).parents[1])


def imported(who: str, module: str) -> ModuleType:
    """Import a module of `who`. Raises ConfigError for whatever ends its import, with the line of its author's own code."""
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # its code runs, so anything can come of it
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [one for one in frames if not one.filename.startswith(("<frozen", _OURS, importlib.__file__))]
        where = f" (at {theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
        said = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{who}: {module} cannot be imported: {said}{where}") from error
