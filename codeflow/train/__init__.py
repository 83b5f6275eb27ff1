"""The trainer: recipes, the loop, its checks, and what it says of itself."""
