"""What every benchmark prints first, and other pieces that they share.

They live in the package, for `humanparse bench`.
"""

from humanparse.bench import describe, jpeg, others_share, table

__all__ = ["describe", "jpeg", "others_share", "table"]
