"""What a run holds and saves: ranks, tensors, optimisers, checkpoints, memory."""
