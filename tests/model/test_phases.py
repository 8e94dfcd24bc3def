import torch

from xsheet.model.block import NO_PHASE, PAD, PhaseTable


def learned(rng):
    table = PhaseTable(3, 8)
    with torch.no_grad():
        table.weight[1:] = torch.randn(3, 8, generator=rng)
    return table


def test_it_has_a_row_per_phase_and_one_of_zero():
    table = PhaseTable(6, 8)
    assert table.weight.shape == (7, 8)
    assert not table.weight.any()


def test_a_token_gets_the_vector_of_its_phase(rng):
    table = learned(rng)
    assert torch.equal(table(torch.tensor([[2, 1, 3]])), table.weight[[2, 1, 3]][None])


def test_base_pads_and_the_null_prompt_get_nothing(rng):
    assert not learned(rng)(torch.tensor([[PAD, NO_PHASE, PAD], [NO_PHASE, NO_PHASE, NO_PHASE]])).any()


def test_row_zero_stays_zero_under_training_with_weight_decay(rng):
    table = learned(rng)
    before = table.weight.detach().clone()
    optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        table(torch.tensor([[PAD, NO_PHASE, 1, 2]])).sum().backward()
        optimizer.step()
    assert not table.weight[NO_PHASE].any()
    assert (table.weight[1:3] != before[1:3]).all()
