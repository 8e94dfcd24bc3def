"""The cache of the real model: Wan's VAE, UMT5 and wav2vec 2.0 of the real widths, shallow and with random weights."""

import pytest
import torch

from xsheet.model.config import wan2_2_ti2v_5b_config
from xsheet.model.encoders.pretrained import import_transformers
from xsheet.model.phases import PAD
from xsheet.runtime.executor import Execution
from xsheet.train.data.cache.build import build_cache, open_cache
from xsheet.train.data.dataset import CachedClipDataset, select_clips
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import (
    CacheSettings,
    EncoderSettings,
    PictureEncodingSettings,
    RoundTripSettings,
    StageDatasetSettings,
    TextSettings,
)

pytestmark = pytest.mark.slow
SIZE = wan2_2_ti2v_5b_config()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> EncoderSettings:
    """Folders as one downloads them."""
    library, folder = import_transformers(), tmp_path_factory.mktemp("weights")
    from diffusers import AutoencoderKLWan  # after torchvision, which import_transformers prepares

    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4, num_res_blocks=1, temperal_downsample=[False, True, True], z_dim=48, is_residual=True, patch_size=2,
        in_channels=12, out_channels=12, scale_factor_spatial=16, latents_mean=[0.1] * 48, latents_std=[2.0] * 48,
    )  # fmt: skip
    vae.save_pretrained(folder / "vae")
    tokenizer = letters(library)
    t5 = library.UMT5Config(
        vocab_size=len(tokenizer), d_model=SIZE.text_dim, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )  # fmt: skip
    library.UMT5EncoderModel(t5).save_pretrained(folder / "text" / "text_encoder")
    tokenizer.save_pretrained(folder / "text" / "tokenizer")
    sound = library.Wav2Vec2Config(
        hidden_size=SIZE.audio_channels, num_hidden_layers=SIZE.audio_layers, num_attention_heads=2,
        intermediate_size=8, conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    library.Wav2Vec2Model(sound).save_pretrained(folder / "sound")
    library.Wav2Vec2FeatureExtractor().save_pretrained(folder / "sound")
    return EncoderSettings(
        video="wan", video_weights=str(folder / "vae"), text="umt5", text_weights=str(folder / "text"),
        audio="wav2vec2", audio_weights=str(folder / "sound"),
    )  # fmt: skip


def letters(library):
    """A fast tokenizer of single letters with an end token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((chr(c), -5.0) for c in range(33, 127)), ("▁", -2.0)]
    rules = Tokenizer(models.Unigram(pieces, unk_id=2))
    rules.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    rules.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return library.PreTrainedTokenizerFast(
        tokenizer_object=rules, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )  # fmt: skip


def test_batches_have_what_the_model_takes(clip_set, weights):
    settings = CacheSettings(
        model="wan2.2-ti2v-5b",
        encoders=weights,
        picture=PictureEncodingSettings(frame_counts=(21, 33), resolutions=((64, 96),)),
        text=TextSettings(layer="gold"),
        round_trip=RoundTripSettings(min_psnr_db=0),
    )
    built = build_cache(clip_set, settings, execution=Execution(), shows_progress=False)
    cache, shown = open_cache(clip_set, built.spec), StageDatasetSettings(text="blocks")
    clips = CachedClipDataset([select_clips(cache, shown)], shown, seed=0, mirror_probability=0.5)
    batch = clips.batch([SampleKey(0, "clip_a"), SampleKey(1, "clip_b")])
    assert batch.latent_BCFHW.shape == (2, SIZE.in_channels, 9, 4, 6)
    assert batch.audio_BTLQ.shape == (2, 33, SIZE.audio_layers, SIZE.audio_channels)
    assert batch.text.shape == (2, SIZE.text_tokens, SIZE.text_dim)
    assert clips.null_text.shape == (SIZE.text_tokens, SIZE.text_dim)
    is_pad = batch.phase_BM == PAD
    assert not batch.text[is_pad].any()  # as Wan has them
    assert batch.text[~is_pad].any(1).all()
    assert {1, 2} <= set(batch.phase_BM.unique().tolist())
