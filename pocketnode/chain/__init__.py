"""The chain: reading it, following its events, sending to it, and what daemons and commands do there."""
