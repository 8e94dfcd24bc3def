import numpy as np
import pytest
import torch

from xsheet.model.config import tiny_config, wan2_2_ti2v_5b_config
from xsheet.model.encoders.audio import LogMelEncoder, Wav2Vec2Encoder
from xsheet.model.encoders.pretrained import import_transformers
from xsheet.schemas.errors import ConfigError

FRAME = 640  # samples at 25 fps


def tone(hz, frames, *, frame=FRAME, level=0.5):
    return level * torch.sin(2 * np.pi * hz * torch.arange(frames * frame) / 16_000)[None]


@pytest.fixture
def noise(rng):
    return 0.1 * torch.randn(2, 20 * FRAME, generator=rng)


@pytest.fixture(scope="module")
def small():
    """A wav2vec 2.0 of three layers with the strides of the real one."""
    library = import_transformers()
    torch.manual_seed(5)
    config = library.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, hidden_dropout=0.1, layerdrop=0.1,
    )  # fmt: skip
    return Wav2Vec2Encoder(library.Wav2Vec2Model(config), normalise=True)


@pytest.fixture(params=["log-mel", "wav2vec 2.0"])
def encoder(request, small):
    return LogMelEncoder() if request.param == "log-mel" else small


def test_log_mel_gives_what_the_tiny_size_expects():
    assert (LogMelEncoder().layers, LogMelEncoder().channels) == (
        tiny_config().audio_layers,
        tiny_config().audio_channels,
    )


def test_wav2vec_of_the_base_size_gives_what_the_real_size_expects():
    library = import_transformers()
    with torch.device("meta"):
        sound = Wav2Vec2Encoder(library.Wav2Vec2Model(library.Wav2Vec2Config()), normalise=True)
    size = wan2_2_ti2v_5b_config()
    assert (sound.layers, sound.channels) == (size.audio_layers, size.audio_channels)


@pytest.mark.parametrize("frames", [1, 2, 33, 125])
@pytest.mark.parametrize("frame", [640, 1280, 1920])
def test_every_video_frame_gets_its_features_at_any_rate(encoder, frames, frame):
    came = encoder.encode(torch.randn(1, frames * frame) * 0.1, samples_per_frame=frame)
    assert came.shape == (1, frames, encoder.layers, encoder.channels)
    assert came.dtype == torch.float32
    assert came.isfinite().all()


def test_sound_that_is_no_whole_number_of_frames_is_refused(encoder):
    with pytest.raises(ValueError, match="expected whole frames of 640 samples, got 1000 samples"):
        encoder.encode(torch.zeros(1, 1000), samples_per_frame=FRAME)


def test_the_level_of_a_recording_does_not_matter(encoder, noise):
    loud, quiet = (encoder.encode(k * noise, samples_per_frame=FRAME) for k in (1.0, 0.25))
    torch.testing.assert_close(loud, quiet, atol=2e-3, rtol=0)


def test_a_clip_is_encoded_as_if_it_were_alone(encoder, noise):
    both = encoder.encode(torch.cat([noise[:1], 9 * noise[1:]]), samples_per_frame=FRAME)
    torch.testing.assert_close(both[:1], encoder.encode(noise[:1], samples_per_frame=FRAME), atol=1e-4, rtol=0)


def test_the_same_sound_gives_the_same_features(encoder, noise):
    first, second = (encoder.encode(noise, samples_per_frame=FRAME) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("frame", [0, 7, 19])
def test_a_click_changes_its_own_frame_and_step(frame):
    sound = torch.zeros(1, 20 * FRAME)
    sound[0, frame * FRAME + 400] = 1  # in the third of the four steps of 160 samples
    loud = LogMelEncoder().encode(sound, samples_per_frame=FRAME).sum(3)[0]
    assert divmod(int(loud.flatten().argmax()), 4) == (frame, 2)


@pytest.mark.parametrize(("low", "high"), [(200, 400), (400, 1500), (1500, 6000)])
def test_a_higher_tone_sounds_in_a_higher_band(low, high):
    bands = [LogMelEncoder().encode(tone(hz, 4), samples_per_frame=FRAME)[0, 2, 1].argmax() for hz in (low, high)]
    assert bands[0] < bands[1]


def test_loud_is_one_and_60_db_less_is_minus_one():
    sound = torch.cat([tone(1000, 5), tone(1000, 5, level=0.5e-4)], dim=1)
    loud = LogMelEncoder().encode(sound, samples_per_frame=FRAME).amax(3)[0]
    assert loud[2].mean().item() == pytest.approx(1, abs=0.01)
    assert loud[7].mean().item() == pytest.approx(-1, abs=0.01)


def test_digital_silence_is_silent():
    assert LogMelEncoder().encode(torch.zeros(1, 10 * FRAME), samples_per_frame=FRAME).max() <= -0.99


@pytest.mark.parametrize("bands", [20, 40])
def test_noise_of_all_frequencies_is_about_as_loud_in_every_band(bands, rng):
    white = torch.randn(1, 200 * FRAME, generator=rng)
    loud = LogMelEncoder(bands=bands).encode(white, samples_per_frame=FRAME).mean((0, 1, 2))
    assert loud.max() - loud.min() < 0.15  # 4.5 dB


def test_more_bands_than_frequencies_are_refused():
    with pytest.raises(ValueError, match="expected bands wider than 31 Hz, got 128 bands"):
        LogMelEncoder(bands=128).encode(torch.zeros(1, FRAME), samples_per_frame=FRAME)


def test_a_frame_that_does_not_divide_into_steps_is_refused():
    with pytest.raises(ValueError, match="expected a multiple of 4 samples per frame, got 641"):
        LogMelEncoder().encode(torch.zeros(1, 641), samples_per_frame=641)


def test_wav2vec_gives_exactly_50_features_a_second_and_frames_are_means_of_two(small, noise):
    with torch.no_grad():
        scaled = (noise - noise.mean(1, keepdim=True)) / noise.std(1, keepdim=True, correction=0)
        padded = torch.nn.functional.pad(scaled, (40, 40))
        hidden = small.model(padded, output_hidden_states=True).hidden_states
    assert len(hidden) == 4
    assert hidden[0].shape[1] == 40  # 20 frames at 25 a second
    expected = torch.stack([h.reshape(2, 20, 2, 16).mean(2) for h in hidden[1:]], dim=2)
    torch.testing.assert_close(small.encode(noise, samples_per_frame=FRAME), expected, atol=1e-5, rtol=1e-4)


def test_at_50_frames_a_second_the_features_are_wav2vecs_own(small, noise):
    came = small.encode(noise, samples_per_frame=320)
    assert came.shape[1] == 40
    torch.testing.assert_close(
        came.reshape(2, 20, 2, 3, 16).mean(2), small.encode(noise, samples_per_frame=FRAME), atol=1e-5, rtol=1e-4
    )


def test_a_saved_wav2vec_is_the_same_when_loaded(small, noise, tmp_path):
    small.model.save_pretrained(tmp_path)
    import_transformers().Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    loaded = Wav2Vec2Encoder.load(tmp_path)
    assert not loaded.normalise
    plain = Wav2Vec2Encoder(small.model, normalise=False)
    assert torch.equal(loaded.encode(noise, samples_per_frame=FRAME), plain.encode(noise, samples_per_frame=FRAME))
    assert loaded.fingerprint() == plain.fingerprint() != small.fingerprint()


def test_a_name_that_is_no_folder_is_not_looked_up_elsewhere(tmp_path):
    with pytest.raises(ConfigError, match="got nothing"):
        Wav2Vec2Encoder.load(tmp_path / "facebook" / "wav2vec2-base")


def test_other_bands_have_another_fingerprint():
    assert LogMelEncoder().fingerprint() == LogMelEncoder().fingerprint()
    assert LogMelEncoder().fingerprint() != LogMelEncoder(bands=40).fingerprint()
