"""`python -m tests.cluster`: the harness from a shell."""

from tests.cluster.cli import main

main()
