"""The dashboard: measured series, the chain's logs made readable, and the pages that show them."""
