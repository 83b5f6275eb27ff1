"""The stage `filter`: every triple through the filters."""
