"""Lanes over gRPC, both ends: `client.open_lane` for gateways, `server.RelayServer` for suppliers."""
