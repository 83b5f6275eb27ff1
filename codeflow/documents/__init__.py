"""What a source says, as text with loss weights, and the way back."""
