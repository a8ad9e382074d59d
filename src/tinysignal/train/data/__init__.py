"""Training data: recordings in memory, pairs of them, and mixtures made on the fly."""
