"""The requirements' scenarios on each platform that can express them: `make matrix` plays each cell and prints the table."""
