"""What is checked beside the tests, which need no Python."""
