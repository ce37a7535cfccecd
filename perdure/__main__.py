"""`python -m perdure`: the command line."""

from perdure.cli.main import start

if __name__ == "__main__":
    start()
