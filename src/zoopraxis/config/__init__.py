"""Settings of a run: the schema, and the one way to compose, judge and store them."""
