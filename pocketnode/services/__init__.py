"""Service specs as data: what is sold, what it costs in units, what it promises."""
