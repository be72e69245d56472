"""`python -m fmae_zoo` is the `fmae` command."""

from fmae_zoo.cli import main

main()
