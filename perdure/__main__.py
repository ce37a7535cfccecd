"""`python -m perdure`: the command line."""

from perdure.api.cli.main import main

if __name__ == "__main__":
    main()
