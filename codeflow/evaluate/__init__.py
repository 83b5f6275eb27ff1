"""What a model can do, as numbers: predictions graded, and pass@k of them."""
