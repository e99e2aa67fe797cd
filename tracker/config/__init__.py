"""The one YAML file: read strictly, every error with its place, secrets by reference only."""
