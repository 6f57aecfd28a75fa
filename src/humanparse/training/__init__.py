"""Train the embedded model and M2FP (extra: train).

Photos → scenes → targets → losses → loop → export → validation.
"""
