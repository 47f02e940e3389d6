"""How the embedded model was made."""

import deployments.diffusion  # noqa: F401  (declares torchvision's operators before diffusers imports it)
