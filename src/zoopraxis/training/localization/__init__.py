"""Finding actions in long videos: the data, the system, runs and inference."""
