"""Finding actions in long videos: the boundary-matching network, its targets and losses, and proposals. Torch only."""
