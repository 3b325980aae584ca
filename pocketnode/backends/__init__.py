"""What a supplier wraps: LLM servers, blockchain nodes, plain HTTP services."""
