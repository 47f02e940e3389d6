"""The edge: HTTP in, HTTP out. Never imports torch or diffusers."""
