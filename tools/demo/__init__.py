"""The drawn benches and the small models of the demo."""
