"""What the rest stands on and other programs need as well: cores, files, locks, streams."""
