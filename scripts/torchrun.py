"""torchrun with one-line errors: a script as one process per GPU of one node or of several. See --help."""

from catid2.runtime.torchrun import main

if __name__ == "__main__":
    main()
