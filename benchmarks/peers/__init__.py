"""What others would build around the same pipeline."""
