"""A whole market on one machine: a chain, an LLM, suppliers and a gateway, each a process of its own.

Imported by `pocketnode.cli` alone. Nothing here is a part of a production daemon; it starts them as an operator would.
"""
