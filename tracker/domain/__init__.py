"""The pure core: vocabulary, facts and the functions over them. No clock, no I/O, no logging."""
