"""Train M2FP: a scene → segments → which query answers for which (matching) → losses at points."""
