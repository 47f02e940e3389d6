"""What is measured, and against what. Each module is a command; see README.md."""
