"""The rules of docs/protocol.md as plain functions over frozen values. No I/O, clock or randomness."""
