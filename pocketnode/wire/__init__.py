"""What goes over a lane: generated protobuf and the payload codec."""
