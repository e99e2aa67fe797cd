"""The plugin API as its authors' type checkers see it.

`make lint` checks these modules under `mypy --strict`; nothing runs them. `assert_type` says what an author gets. Each
`type: ignore` is a mistake that must stay one: mypy warns where it is not needed any more.
"""
