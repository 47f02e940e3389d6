"""The pictures that the embedded model learns from, and how well it does."""
