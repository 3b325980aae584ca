"""From the last relay of a session to money in the payout address: statements, claims, withdrawals, books."""
