"""Training and testing of domain adaptation: two domains' clips, the system, whole runs."""
