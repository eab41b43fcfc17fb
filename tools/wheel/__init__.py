"""The Python package as a wheel, with the program inside."""
