"""Files of others as texts and conversations: which files, which rows, which columns mean what."""
