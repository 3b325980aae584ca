"""A permissionless market for answers: relays, receipts, quality, settlement."""

__version__ = "0.1.0"
