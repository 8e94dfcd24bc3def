"""`python -m xsheet` is the command `xsheet`."""

from xsheet.cli import main

main()
