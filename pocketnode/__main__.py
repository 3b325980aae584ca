"""`python -m pocketnode`, the same as `pocketnode`."""

from pocketnode.cli.main import main

if __name__ == "__main__":
    main(prog_name="pocketnode")
