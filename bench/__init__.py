"""The project's own benchmark, `make bench`: results in bench/results, prose in docs/performance.md."""
