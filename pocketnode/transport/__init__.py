"""Lanes over gRPC, both ends: `links.Links` opens them for gateways, `server.RelayServer` serves them."""
