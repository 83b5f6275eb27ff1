"""From decisions to the dataset folder."""
