"""What the rest stands on and other programs would need as well: cores, files, locks, streams,
dependencies."""
