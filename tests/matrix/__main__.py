"""Play the matrix and print it: `make matrix`, or `python -m tests.matrix --only bigcommerce --id KE-08 --id MG-06`."""

from __future__ import annotations

import argparse
import sys

from tests.matrix.cells import DATABASES, cells, play_all, table
from tests.matrix.columns import columns


def main() -> None:
    """Print the table and why cells are not played; exit 1 where one that is played fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(columns()), help="a platform; all of them by default")
    parser.add_argument("--id", action="append", help="a statement, such as KE-03; all of them by default")
    parser.add_argument("--database", choices=DATABASES, action="append", help="both by default")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print the translated scenarios, and play nothing")
    parser.add_argument("--mutants", action="store_true", help="take out each statement's rule: its cells must fail")
    options = parser.parse_args()
    chosen = [
        cell
        for cell in cells(options.database or DATABASES, mutants=options.mutants)
        if cell.column in (options.only or columns()) and (not options.id or cell.id in options.id)
    ]
    if options.show:
        for cell in chosen:
            print(cell.shown())
        return
    print(table(play_all(chosen, options.processes)))
    sys.exit(any(cell.failed for cell in chosen))


if __name__ == "__main__":
    main()
