"""`python -m fieldfare`: the command line, where `fieldfare` itself is not on the path."""

from fieldfare.shared.cli.root import main

if __name__ == "__main__":
    main()
