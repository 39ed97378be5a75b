"""One test file per engine."""
