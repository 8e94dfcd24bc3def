"""Tiny random Qwen-VL and Qwen-Omni models: few weights, a tokenizer of bytes, the real processors, in a folder."""

from pathlib import Path

import pytest

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
# What the published templates say about text and video.
TEMPLATE = """{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'video' %}\
<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
KINDS = ("qwen2_5_vl", "qwen3_vl")
OMNI_SPECIAL = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}  # fmt: skip
OMNI_TEMPLATE = TEMPLATE.replace("<|vision_start|><|video_pad|><|vision_end|>", "<|vision_bos|><|VIDEO|><|vision_eos|>")


@pytest.fixture(scope="session", params=KINDS)
def qwen_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as one downloads it, of each family in turn."""
    pytest.importorskip("llguidance")
    transformers = pytest.importorskip("transformers")
    import torch

    from xsheet.torchvision_compat import import_torchvision

    import_torchvision()
    torch.set_num_threads(1)  # two threads are 30 times slower on matrices this small
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(transformers)
    build = {"qwen2_5_vl": qwen25, "qwen3_vl": qwen3}[request.param]
    model, processor = build(transformers, tokenizer, *configs(tokenizer))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=("qwen2_5_omni", "qwen3_omni_moe"))
def omni_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with audio input, of each family in turn: the part that writes text, with random weights."""
    pytest.importorskip("llguidance")
    transformers = pytest.importorskip("transformers")
    import torch

    from xsheet.torchvision_compat import import_torchvision

    import_torchvision()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(
        transformers, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), named=OMNI_SPECIAL
    )
    build = {"qwen2_5_omni": qwen25_omni, "qwen3_omni_moe": qwen3_omni}[request.param]
    model, processor = build(transformers, tokenizer)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Its tokenizer: one token to a byte."""
    return byte_tokenizer(pytest.importorskip("transformers"))


def byte_tokenizer(transformers, *, special=SPECIAL, named=None):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        **({"extra_special_tokens": named} if named else {}),
    )  # fmt: skip
    if named is None:
        tokenizer.add_special_tokens({"extra_special_tokens": list(special)})
    else:
        tokenizer.add_tokens(list(special), special_tokens=True)
    tokenizer.chat_template = OMNI_TEMPLATE if named else TEMPLATE
    return tokenizer


def configs(tokenizer):
    """Settings of the text part, and the ids that both parts must know."""
    of = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer) + 8,  # wider than the tokenizer, as the published models are
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 8192, "bos_token_id": None,
        "eos_token_id": of("<|im_end|>"), "pad_token_id": of("<|endoftext|>"),
    }  # fmt: skip
    ids = {
        "image_token_id": of("<|image_pad|>"), "video_token_id": of("<|video_pad|>"),
        "vision_start_token_id": of("<|vision_start|>"), "vision_end_token_id": of("<|vision_end|>"),
    }  # fmt: skip
    return text, ids


def qwen25(transformers, tokenizer, text, ids):
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1], "tokens_per_second": 2,
    }  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=vision, **ids)
    processor = transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3(transformers, tokenizer, text, ids):
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    vision = {
        "depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    text = text | {"head_dim": 16, "rope_parameters": rope}
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
    processor = transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=16),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(),
        chat_template=TEMPLATE,
    )
    return transformers.Qwen3VLForConditionalGeneration(config), processor


def omni_settings(tokenizer):
    """Settings of the text and sound parts, and the ids that all parts must know."""
    of = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer) + 8, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192, "bos_token_id": None,
        "eos_token_id": of("<|im_end|>"), "pad_token_id": of("<|endoftext|>"),
    }  # fmt: skip
    audio = {
        "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "output_dim": 64,
        "num_mel_bins": 16,
    }  # fmt: skip
    return text, audio, of


def omni_processor(transformers, kind, tokenizer, patch_size):
    return getattr(transformers, kind)(
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=patch_size),
        video_processor=transformers.Qwen2VLVideoProcessor(patch_size=patch_size),
        feature_extractor=transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=30),
        tokenizer=tokenizer,
        chat_template=OMNI_TEMPLATE,
    )


def qwen25_omni(transformers, tokenizer):
    text, audio, of = omni_settings(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5OmniThinkerConfig(
        text_config=text | {"rope_parameters": rope},
        audio_config=audio,
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1],
        },
        audio_token_index=of("<|AUDIO|>"), image_token_index=of("<|IMAGE|>"), video_token_index=of("<|VIDEO|>"),
        audio_start_token_id=of("<|audio_bos|>"), audio_end_token_id=of("<|audio_eos|>"),
        vision_start_token_id=of("<|vision_bos|>"), vision_end_token_id=of("<|vision_eos|>"),
    )  # fmt: skip
    processor = omni_processor(transformers, "Qwen2_5OmniProcessor", tokenizer, 14)
    return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config), processor


def qwen3_omni(transformers, tokenizer):
    text, audio, of = omni_settings(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
    config = transformers.Qwen3OmniMoeThinkerConfig(
        text_config=text | experts | {"rope_parameters": rope},
        audio_config=audio | {"downsample_hidden_size": 16},
        vision_config={
            "depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
        },
        audio_token_id=of("<|AUDIO|>"), image_token_id=of("<|IMAGE|>"), video_token_id=of("<|VIDEO|>"),
        audio_start_token_id=of("<|audio_bos|>"), audio_end_token_id=of("<|audio_eos|>"),
        vision_start_token_id=of("<|vision_bos|>"), vision_end_token_id=of("<|vision_eos|>"),
    )  # fmt: skip
    processor = omni_processor(transformers, "Qwen3OmniMoeProcessor", tokenizer, 16)
    return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config), processor


@pytest.fixture(scope="session")
def sounding_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A canonical clip of 75 frames, 96 × 64, with a tone."""
    import numpy as np

    from xsheet.curate.media.writer import write_clip

    path = tmp_path_factory.mktemp("clip") / "sounding.mp4"
    tone = np.sin(np.arange(75 * 640) / 8).astype(np.float32) / 4
    write_clip(path, frames=(np.full((64, 96, 3), 16 + 3 * k, np.uint8) for k in range(75)), sound=tone)
    return path


@pytest.fixture(scope="session")
def moving_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A canonical clip of 75 frames, 96 × 64: frame k is grey with level 16 + 3·k."""
    import numpy as np

    from xsheet.curate.media.writer import write_clip

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, frames=(np.full((64, 96, 3), 16 + 3 * k, np.uint8) for k in range(75)))
    return path
