"""Training of M2FP: a scene → segments → who of the queries answers which (matching) → losses at
sampled points."""
