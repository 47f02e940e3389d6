"""SDXL at its true size with random weights on a GPU, in ten stages; `--tiny` runs them all on a CPU."""
