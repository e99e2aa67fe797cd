"""The database: tables, the engine with its write discipline, and every query."""
