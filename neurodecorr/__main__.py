"""`python -m neurodecorr` is the command `neurodecorr`."""

from neurodecorr.cli import main

if __name__ == "__main__":
    main(prog_name="neurodecorr")
