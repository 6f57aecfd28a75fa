"""Networks in plain PyTorch (extra: torch). They know nothing of images, label sets or files."""
