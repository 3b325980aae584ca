"""The commands, and the only place where everything meets."""
