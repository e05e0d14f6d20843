"""Start a script once, once per GPU of this machine, or once per GPU of several nodes: see --help."""

from catid2.runtime.launch import main

if __name__ == "__main__":
    main()
