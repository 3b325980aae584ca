"""What daemons keep on disk: receipts, relay records, the sender's journal, what each pot waits for."""
