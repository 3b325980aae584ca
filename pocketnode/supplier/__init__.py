"""The supplier daemon: admits lanes, answers relays, keeps receipts, shows itself to its operator."""
