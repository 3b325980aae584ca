"""The project's own benchmark: `make bench`, or `python -m bench --help`. Results in bench/results, prose in docs/performance.md."""
