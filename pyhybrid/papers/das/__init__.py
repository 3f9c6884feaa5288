"""DAS (card follows)."""
