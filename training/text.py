"""Captions → what SDXL's UNet is conditioned on, with gradients."""

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


class TextEncoders(nn.Module):
    """Both text encoders, read as `StableDiffusionXLPipeline.encode_prompt` reads them."""

    def __init__(self, tokenizer: CLIPTokenizer, first: CLIPTextModel, second: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.first, self.second = first, second
        self._tokenizer = tokenizer

    def forward(self, captions: list[str | None]) -> tuple[Tensor, Tensor]:
        """Encodes captions; None stands for no prompt at all, which SDXL encodes as zeros.

        Returns:
            Hidden states (b, 77, 160) and the pooled text (b, 96).
        """
        texts = [text or "" for text in captions]
        tokens = self._tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        ids = tokens.input_ids.to(self.first.device)
        first = self.first(ids, output_hidden_states=True).hidden_states[-2]
        second = self.second(ids, output_hidden_states=True)
        given = torch.tensor([float(text is not None) for text in captions], device=ids.device)
        hidden = torch.cat([first, second.hidden_states[-2]], -1)
        return hidden * given[:, None, None], second.text_embeds * given[:, None]


def time_ids(side_px: int, count: int, device: str) -> Tensor:
    """SDXL's size conditioning of square pictures that are not cropped, (count, 6) float32."""
    return torch.tensor([[side_px, side_px, 0, 0, side_px, side_px]], dtype=torch.float32, device=device).repeat(
        count, 1
    )
