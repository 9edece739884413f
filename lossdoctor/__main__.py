"""`python -m lossdoctor`: the command line where its script is not on the path."""

from lossdoctor.cli import main

main()
