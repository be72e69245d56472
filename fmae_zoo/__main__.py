"""`python -m fmae_zoo` is the `fmae` command."""

from fmae_zoo.cli import main

if __name__ == "__main__":
    main()
