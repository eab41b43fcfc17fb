"""What `tools/check torture` does: a module a part, and the campaign that runs them."""
