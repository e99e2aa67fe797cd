"""One fake server a plugin, in a module of the plugin's name."""
