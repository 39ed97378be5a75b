"""Data of every kind as a stream of batches that fit the model."""
