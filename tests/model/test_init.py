import torch

from xsheet.model.init import init_transformer


def test_the_same_seed_gives_the_same_model_whatever_else_was_drawn(small):
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(init_transformer(small, rng=torch.Generator().manual_seed(7)).state_dict())
    assert [key for key in models[0] if not torch.equal(models[0][key], models[1][key])] == []


def test_another_seed_gives_another_model(small):
    one, other = (
        init_transformer(small, rng=torch.Generator().manual_seed(seed)).patch_embedding.weight for seed in (1, 2)
    )
    assert not torch.equal(one, other)


def test_a_fresh_model_says_zero_and_the_first_step_mends_that(small, latent, given, rng):
    model = init_transformer(small, rng=rng)
    time = torch.tensor([300.0, 900.0])
    assert not given.velocity(model, latent, time).any()
    (given.velocity(model, latent, time) - latent).square().mean().backward()
    assert model.proj_out.weight.grad.abs().max() > 0
