"""Domain adaptation on features of frames: the network of TA3N, its discriminators, and losses of TA3N and its baselines."""
