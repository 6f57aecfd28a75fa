"""Training of the embedded model and of M2FP (extra: train): photos → scenes → targets → losses →
loop → export → validate."""
