"""Networks in plain PyTorch (extra: torch). Nothing here knows images, labels or files of ours."""
