"""How fast mmq is, and others on the same machine."""
