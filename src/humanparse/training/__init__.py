"""Training of the embedded model (extra: train): photos → scenes → targets → losses → loop → export → validate."""
