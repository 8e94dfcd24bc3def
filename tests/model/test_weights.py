import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from xsheet.model.config import tiny_config, wan2_2_ti2v_5b_config
from xsheet.model.transformer import ActAvatarTransformer, WanTransformer3DModel
from xsheet.model.weights import (
    audio_keys,
    backbone_keys,
    conditioning_keys,
    export_backbone,
    load,
    load_part,
    load_pretrained_backbone,
    phase_keys,
    save,
)
from xsheet.schemas.errors import ConfigError

TIME = torch.tensor([300.0, 900.0])
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def base(small):
    return WanTransformer3DModel(**small.backbone_fields())


@pytest.fixture
def folder(base, tmp_path):
    base.save_pretrained(tmp_path / "wan")
    return tmp_path / "wan"


@pytest.mark.slow
@pytest.mark.parametrize("binding", [(), ("table",), ("interval",), ("clock",), ("table", "interval", "clock")])
@pytest.mark.parametrize("size", [tiny_config, wan2_2_ti2v_5b_config])
def test_the_key_tables_name_every_tensor_of_a_model_once(size, binding):
    config = size().model_copy(update={"phase_binding": binding})
    blocks = config.num_layers
    with torch.device("meta"):
        keys = ActAvatarTransformer(**config.model_dump()).state_dict().keys()
    groups = [set(backbone_keys(blocks)), audio_keys(blocks), phase_keys(config)]
    assert set.union(*map(set, groups)) == set(keys)
    assert sum(map(len, groups)) == len(keys)


def test_without_a_variant_what_controls_is_the_audio_path(model, small):
    assert conditioning_keys(model) == audio_keys(small.num_layers)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "base", "ours"), [(tiny_config, 2.19, 2.68), (wan2_2_ti2v_5b_config, 5000, 5782)])
def test_the_named_sizes_have_as_many_million_weights_as_they_say(size, base, ours):
    with torch.device("meta"):
        model = ActAvatarTransformer(**size().model_dump())
        wan = WanTransformer3DModel(**size().backbone_fields())
    assert sum(p.numel() for p in wan.parameters()) / 1e6 == pytest.approx(base, rel=0.01)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(ours, rel=0.01)


def test_the_names_of_wans_authors_are_those_that_diffusers_knows(small, base):
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    theirs = {wan: torch.zeros(1) for wan in backbone_keys(small.num_layers).values()}
    assert set(convert_wan_transformer_to_diffusers(theirs)) == set(base.state_dict())
    for ours, wan in backbone_keys(small.num_layers).items():
        assert list(convert_wan_transformer_to_diffusers({wan: torch.zeros(1)})) == [ours]


def test_a_base_from_a_folder_of_diffusers_speaks_as_before(small, base, folder, latent, given, rng):
    model = load_pretrained_backbone(folder, config=small, rng=rng)
    with torch.no_grad():
        expected = base(latent, TIME, given.text_BME, return_dict=False)[0]
        assert torch.equal(given.velocity(model, latent, TIME), expected)


def test_a_base_from_a_file_of_wans_authors_is_the_same(small, base, folder, tmp_path, rng):
    names = backbone_keys(small.num_layers)
    save_file({names[key]: weight for key, weight in base.state_dict().items()}, tmp_path / "wan.safetensors")
    theirs = load_pretrained_backbone(
        tmp_path / "wan.safetensors", config=small, rng=torch.Generator().manual_seed(7)
    ).state_dict()
    ours = load_pretrained_backbone(folder, config=small, rng=torch.Generator().manual_seed(7)).state_dict()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_a_base_in_several_shards_in_half_precision_is_read_to_float32(small, base, tmp_path, rng):
    base.to(torch.bfloat16).save_pretrained(tmp_path / "wan", max_shard_size="40KB")
    assert len(list((tmp_path / "wan").glob("*.safetensors"))) > 1
    model = load_pretrained_backbone(tmp_path / "wan", config=small, rng=rng)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert torch.equal(model.proj_out.weight, base.proj_out.weight.float())


def change(folder, edit):
    tensors = load_file(folder / FILE)
    edit(tensors)
    save_file(tensors, folder / FILE)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("proj_out.bias"), r"1 missing \['proj_out.bias'\], 0 extra"),
        (lambda t: t.update(extra=torch.zeros(1)), r"0 missing \[\], 1 extra \['extra'\]"),
        (lambda t: t.update({"proj_out.bias": torch.zeros(3)}), r"proj_out.bias of shape \(16,\), got \(3,\)"),
    ],
)
def test_other_tensors_than_the_base_has_are_refused_by_name(small, folder, rng, edit, message):
    change(folder, edit)
    with pytest.raises(ConfigError, match=message):
        load_pretrained_backbone(folder, config=small, rng=rng)


def test_a_file_of_wans_authors_that_lacks_a_tensor_is_refused(small, base, tmp_path, rng):
    names = backbone_keys(small.num_layers)
    theirs = {names[key]: weight for key, weight in base.state_dict().items()}
    del theirs["blocks.1.ffn.2.bias"]
    save_file(theirs, tmp_path / "wan.safetensors")
    with pytest.raises(ConfigError, match=r"blocks.1.ffn.net.2.bias"):
        load_pretrained_backbone(tmp_path / "wan.safetensors", config=small, rng=rng)


def test_a_base_of_another_number_of_heads_is_refused_though_every_shape_fits(small, folder, rng):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "num_attention_heads": 4, "attention_head_dim": 12}))
    with pytest.raises(ConfigError, match="expected num_attention_heads 2, attention_head_dim 24, got"):
        load_pretrained_backbone(folder, config=small, rng=rng)


def test_a_pickle_is_never_opened(small, base, tmp_path, rng):
    (tmp_path / "wan").mkdir()
    torch.save(base.state_dict(), tmp_path / "wan" / "diffusion_pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"expected tensors in \*.safetensors, got none"):
        load_pretrained_backbone(tmp_path / "wan", config=small, rng=rng)


def test_a_file_that_is_no_safetensors_is_refused(small, tmp_path, rng):
    (tmp_path / "wan.safetensors").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match="expected a safetensors file"):
        load_pretrained_backbone(tmp_path / "wan.safetensors", config=small, rng=rng)


def test_a_saved_model_comes_back_whole(model, tmp_path):
    save(model, tmp_path / "model")
    back = load(tmp_path / "model")
    assert back.model_config == model.model_config
    assert [k for k, v in model.state_dict().items() if not torch.equal(v, back.state_dict()[k])] == []


def test_diffusers_own_loading_of_a_saved_model_gives_the_same(model, tmp_path):
    save(model, tmp_path / "model")
    back = ActAvatarTransformer.from_pretrained(tmp_path / "model")
    assert back.model_config == model.model_config
    assert [k for k, v in model.state_dict().items() if not torch.equal(v, back.state_dict()[k])] == []
    assert [float(b.audio_attn.residual_scale) for b in back.blocks] == [
        float(b.audio_attn.residual_scale) for b in model.blocks
    ]


def test_an_export_is_wan_to_plain_diffusers_with_the_same_output(model, latent, given, tmp_path):
    export_backbone(model, tmp_path / "plain")
    plain = WanTransformer3DModel.from_pretrained(tmp_path / "plain")
    assert type(plain) is WanTransformer3DModel
    with torch.no_grad():
        message = plain(latent, TIME, given.text_BME, return_dict=False)[0]
        assert torch.equal(message, model(latent, TIME, given.text_BME))


@pytest.mark.slow
def test_an_export_is_a_base_again(model, small, tmp_path, rng):
    export_backbone(model, tmp_path / "plain")
    back = load_pretrained_backbone(tmp_path / "plain", config=small, rng=rng).state_dict()
    assert [k for k in backbone_keys(small.num_layers) if not torch.equal(back[k], model.state_dict()[k])] == []


def test_the_audio_path_is_handed_over_exactly(model, small, tmp_path, rng):
    keys = audio_keys(small.num_layers)
    save_file({key: model.state_dict()[key] for key in keys}, tmp_path / "audio.safetensors")
    other = ActAvatarTransformer(**small.model_dump())
    before = {key: weight.clone() for key, weight in other.state_dict().items()}
    load_part(other, tmp_path / "audio.safetensors", keys=keys)
    for key, weight in other.state_dict().items():
        assert torch.equal(weight, (model.state_dict() if key in keys else before)[key]), key


def test_a_part_of_other_keys_is_refused(model, small, tmp_path):
    save_file({key: model.state_dict()[key] for key in phase_keys(small)}, tmp_path / "part.safetensors")
    with pytest.raises(ConfigError, match="expected exactly 34 tensors"):
        load_part(model, tmp_path / "part.safetensors", keys=audio_keys(small.num_layers))


@pytest.mark.parametrize("write", [save, export_backbone])
def test_an_existing_folder_is_left_alone(model, tmp_path, write):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="expected a folder that does not exist yet"):
        write(model, tmp_path / "mine")
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_a_failed_save_leaves_nothing(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(OSError, match="disk full"):
        save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_diffusers_alone_would_leave_the_new_parts_without_memory(folder):
    """Pins why `load_pretrained_backbone` copies by itself: from_pretrained of a base into ours gives parameters on
    meta."""
    model = ActAvatarTransformer.from_pretrained(folder)
    assert model.phase_table.weight.is_meta


def test_weights_of_tie_are_a_base_for_the_interval_binding(small, tmp_path, rng):
    """They have the names of Wan's authors and nothing beside them; what they learned needs the rotation."""
    names = backbone_keys(small.num_layers)
    base = WanTransformer3DModel(**small.backbone_fields())
    save_file({names[key]: weight for key, weight in base.state_dict().items()}, tmp_path / "tie.safetensors")
    config = small.model_copy(update={"phase_binding": ("interval",)})
    model = load_pretrained_backbone(tmp_path / "tie.safetensors", config=config, rng=rng)
    assert set(model.state_dict()) == backbone_keys(small.num_layers).keys() | audio_keys(small.num_layers)
    assert all(torch.equal(model.state_dict()[key], weight) for key, weight in base.state_dict().items())


def test_the_strength_that_a_model_reached_is_saved(model, tmp_path):
    model.interval_strength = 0.25
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").interval_strength == 0.25
