"""The untrained parts of the embedded model, in SDXL's layout."""

from diffusers import ControlNetModel, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LATENT_FACTOR = 32
_FIRST_WIDTH, _SECOND_WIDTH, _POOLED = 64, 96, 96
_TIME_ID_WIDTH = 16
_WIDTHS, _GROUPS = (48, 64, 80, 96), 8
_HEADS = tuple(width // 16 for width in _WIDTHS)


def _text_config(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        projection_dim=_POOLED,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_text_encoders(tokenizer: CLIPTokenizer) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Both encoders. SDXL reads the layer before the last, so the first one has one working layer, the second two."""
    first = CLIPTextModel(_text_config(tokenizer, _FIRST_WIDTH, 2))
    return first, CLIPTextModelWithProjection(_text_config(tokenizer, _SECOND_WIDTH, 3))


def build_unet() -> UNet2DConditionModel:
    """The denoiser: SDXL's blocks with one layer each, and one transformer block at all levels but the first.

    Four levels where SDXL has three: at the lowest, a picture of 1024 pixels is 4 latents wide, and is seen as a whole.
    """
    return UNet2DConditionModel(
        sample_size=1024 // LATENT_FACTOR,
        in_channels=4,
        out_channels=4,
        block_out_channels=_WIDTHS,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=1,
        attention_head_dim=_HEADS,  # diffusers' name for the number of heads
        cross_attention_dim=_FIRST_WIDTH + _SECOND_WIDTH,
        use_linear_projection=True,
        norm_num_groups=_GROUPS,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=_POOLED + 6 * _TIME_ID_WIDTH,
    )


def build_controlnet() -> ControlNetModel:
    """The ControlNet: the denoiser's encoder without attention, which a skeleton that lies on the picture can spare."""
    return ControlNetModel(
        in_channels=4,
        block_out_channels=_WIDTHS,
        down_block_types=("DownBlock2D",) * 4,
        mid_block_type="UNetMidBlock2D",
        layers_per_block=1,
        attention_head_dim=_HEADS,
        cross_attention_dim=_FIRST_WIDTH + _SECOND_WIDTH,
        use_linear_projection=True,
        norm_num_groups=_GROUPS,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=_POOLED + 6 * _TIME_ID_WIDTH,
        conditioning_embedding_out_channels=(4, 8, 8, 16, 32, 64),  # each after the first halves the picture's side
    )


def build_scheduler() -> EulerDiscreteScheduler:
    """The noise schedule: it ends in noise that shows no trace of a picture, so any plain background is in reach.

    SDXL's own schedule ends at a deviation of 14.6, where the mean colour of a large picture still shows through; this
    one ends at 157. The model predicts the velocity, which stays well defined there.
    """
    return EulerDiscreteScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=0,
    )
