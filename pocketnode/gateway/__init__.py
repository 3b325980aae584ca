"""The gateway daemon: takes ordinary requests, buys answers for them from the suppliers of the session."""
