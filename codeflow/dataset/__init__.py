"""All that one does with a published folder: read, replay, verify, check out, export."""
