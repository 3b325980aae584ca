"""Load on HTTP endpoints and what it costs: for `pocketnode bench`, and for the project's own benchmark in bench/."""
