"""From batches to statistics: running the model, keeping them, and range files."""
