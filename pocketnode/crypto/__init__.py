"""Keys, keccak, EIP-712 digests and Merkle trees."""
