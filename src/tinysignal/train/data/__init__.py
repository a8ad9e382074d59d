"""Training data of denoisers: recordings in memory, pairs, and mixtures made during training."""
