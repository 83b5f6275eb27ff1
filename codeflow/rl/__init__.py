"""Reinforcement learning: replies of the model that is being trained, what they are worth, and
steps of the trainer by them (GRPO)."""
