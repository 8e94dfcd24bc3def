"""The network of ACTalker: in each block a scan over the tokens of the mouth, and one over the rest of the face.

See actalker.py for sources and choices.

B batch, T video frames, F latent frames, S tokens of a latent frame, N = F * S, J tokens that a branch keeps of it,
K tokens of what drives, A their width, X numbers of an identity or of a frame's motion, D width, H x W cells.
"""

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.model.init import init_linears
from xsheet.model.transformer import ActAvatarBlock, ActAvatarTransformer, audio_residual_scale
from xsheet.model.variants.actalker import ACTalkerConditioning, ACTalkerConfig
from xsheet.model.variants.scan import SelectiveScan


class ACTalkerTransformer(ActAvatarTransformer):
    """ActAvatarTransformer with another audio module in each block. With initial weights it equals Wan, bit by bit."""

    config_class = ACTalkerConfig

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        assert isinstance(self.model_config, ACTalkerConfig)
        settings, width = self.model_config.actalker, self.model_config.audio_dim
        self.identity_token = nn.Linear(settings.identity_width, width)
        self.motion_token = nn.Linear(FRAMES_PER_LATENT * settings.motion_width, width)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, ActAvatarBlock)
            block.audio_attn = ParallelControl(self.model_config, index=index)

    def _encode_audio(self, audio_BTLQ: Tensor | None, extra_conditioning: ACTalkerConditioning | None) -> Any:
        if extra_conditioning is None and audio_BTLQ is None:
            return None
        if extra_conditioning is None or audio_BTLQ is None:
            raise ValueError(
                "expected audio together with control (masks, gates, face, motion), got one without the other"
            )
        in_audio, in_motion = driven_regions(extra_conditioning, patch=self.model_config.patch_size[1:])
        return ACTalkerBlockInputs(
            identity_BA=self.identity_token(extra_conditioning.identity_BX),
            audio=DrivingSignal(self.audio_projector(audio_BTLQ), in_audio.flatten(2)),
            motion=DrivingSignal(
                self.motion_token(_group_by_latent(extra_conditioning.motion_BTX))[:, :, None], in_motion.flatten(2)
            ),
        )

    def init_conditioning(self, rng: Generator) -> None:
        """Initialise the weights so that the branches have no effect."""
        init_linears(self.identity_token, rng=rng)
        init_linears(self.motion_token, rng=rng)
        for module in self.modules():
            if isinstance(module, ParallelControl):
                module.init_weights(rng)


class DrivingSignal(NamedTuple):
    """Driving signal of a branch, and its region."""

    tokens_BFKA: Tensor
    region_BFS: Tensor  # bool


class ACTalkerBlockInputs(NamedTuple):
    """Inputs of the variant's module in a block."""

    identity_BA: Tensor
    audio: DrivingSignal
    motion: DrivingSignal


class ParallelControl(nn.Module):
    """o = MLP2(Norm(z1 + z2)): in z1 the tokens of the mouth, in z2 those of the rest are replaced by a scan's."""

    def __init__(self, config: ACTalkerConfig, *, index: int) -> None:
        super().__init__()
        width = config.hidden_dim
        self.residual_scale = audio_residual_scale(
            index, block_count=config.num_layers, schedule=config.audio_depth_schedule, gamma=config.audio_depth_gamma
        )
        self.input_mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.audio, self.motion = ScanBranch(config), ScanBranch(config)
        self.norm = nn.LayerNorm(width)
        self.output_mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        _zero_init(self.output_mlp[-1])

    def forward(self, x_BND: Tensor, driving: ACTalkerBlockInputs) -> Tensor:
        """The residual, (B, N, D)."""
        grid = driving.audio.region_BFS.shape[1:]
        x_BFSD, z_BFSD = (t.unflatten(1, grid) for t in (x_BND, self.input_mlp(x_BND)))
        pasted = [
            branch(x_BFSD, z_BFSD, identity_BA=driving.identity_BA, driver=driver)
            for branch, driver in ((self.audio, driving.audio), (self.motion, driving.motion))
        ]
        residual: Tensor = self.residual_scale * self.output_mlp(self.norm(pasted[0] + pasted[1]))
        return residual.flatten(1, 2)

    def init_weights(self, rng: Generator) -> None:
        """Initialise the weights; the output projection is zero."""
        init_linears(self, rng=rng)
        _zero_init(self.output_mlp[-1])
        for module in self.modules():
            if isinstance(module, SelectiveScan):
                module.init_weights(rng)


class ScanBranch(nn.Module):
    """Drop tokens, scan in both directions, write back. A frame is scanned as identity, kept tokens, driving tokens.

    Audio tokens follow the tokens of their latent frame; the paper puts all of them after the last frame.
    """

    def __init__(self, config: ACTalkerConfig) -> None:
        super().__init__()
        settings, width = config.actalker, config.hidden_dim
        inner = settings.expand * width
        self.scan_scope = settings.scan_scope
        self.identity, self.driver = (nn.Linear(config.audio_dim, width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.to_inner = nn.Linear(width, 2 * inner, bias=False)
        self.scans = nn.ModuleList(
            SelectiveScan(inner, state_dim=settings.state_dim, rank=max(1, width // 16)) for _ in range(2)
        )
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, x_BFSD: Tensor, z_BFSD: Tensor, *, identity_BA: Tensor, driver: DrivingSignal) -> Tensor:
        """(B, F, S, D): kept tokens from the scan, all others from x."""
        most = int(driver.region_BFS.sum(-1).max())  # waits for the device: shapes follow from the masks
        if most == 0:
            return x_BFSD
        place_BFJ = (~driver.region_BFS).to(torch.uint8).argsort(dim=-1, stable=True)[..., :most]
        kept_BFJ = driver.region_BFS.gather(2, place_BFJ)
        place = place_BFJ[..., None].expand(-1, -1, -1, x_BFSD.shape[-1])
        tokens = [
            self.identity(identity_BA)[:, None, None].expand(-1, kept_BFJ.shape[1], 1, -1),
            z_BFSD.gather(2, place),
            self.driver(driver.tokens_BFKA),
        ]
        valid = [functional.pad(kept_BFJ, (1, driver.tokens_BFKA.shape[2]), value=True)]
        scanned = self._scan_packets(torch.cat(tokens, dim=2), torch.cat(valid, dim=2))[:, :, 1 : 1 + most]
        pasted = torch.where(kept_BFJ[..., None], scanned.type_as(x_BFSD), x_BFSD.gather(2, place))
        return x_BFSD.scatter(2, place, pasted)

    def _scan_packets(self, tokens_BFJD: Tensor, valid_BFJ: Tensor) -> Tensor:
        """Scan packed tokens, same shape; padding tokens have no effect."""
        ends = (0, 1) if self.scan_scope == "frame" else (1, 2)
        tokens, valid = tokens_BFJD.flatten(*ends), valid_BFJ.flatten(*ends)
        inner, gate = self.to_inner(self.norm(tokens)).chunk(2, dim=-1)
        forward, backward = self.scans
        scanned = forward(functional.silu(inner), valid) + backward(functional.silu(inner).flip(1), valid.flip(1)).flip(
            1
        )
        out: Tensor = self.to_out(scanned * functional.silu(gate))
        return out.reshape(tokens_BFJD.shape)


def driven_regions(extra_conditioning: ACTalkerConditioning, *, patch: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Tokens that audio and motion drive, bool (B, F, H / patch, W / patch) each; none if the gate is closed.

    Regions are the bounding rectangles of mouth and face over the clip. Audio drives the mouth and motion the rest of
    the face; if only one of them drives, it drives the whole face.
    """
    shares = (extra_conditioning.mouth_BFHW, extra_conditioning.face_BFHW)
    mouth, face = (_bounding_rectangle(functional.max_pool2d(share.float(), patch) > 0) for share in shares)
    audio, motion = (gate[:, None, None, None] for gate in extra_conditioning.gates_B2.bool().unbind(1))
    face = face | mouth
    return audio & torch.where(motion, mouth, face), motion & face & ~(audio & mouth)


def _bounding_rectangle(mask_BFHW: Tensor) -> Tensor:
    """The smallest rectangle that holds a clip's region, for every latent frame."""
    rows, columns = mask_BFHW.any(3).any(1), mask_BFHW.any(2).any(1)
    spans = [(t.cumsum(1) > 0) & (t.flip(1).cumsum(1).flip(1) > 0) for t in (rows, columns)]
    return (spans[0][:, :, None] & spans[1][:, None])[:, None].expand_as(mask_BFHW)


def _group_by_latent(motion_BTX: Tensor) -> Tensor:
    """The four frames of each latent frame side by side, (B, F, 4X); frame 0 four times for the first."""
    padded = torch.cat([motion_BTX[:, :1]] * (FRAMES_PER_LATENT - 1) + [motion_BTX], dim=1)
    return padded.reshape(len(padded), -1, FRAMES_PER_LATENT * padded.shape[2])


def _zero_init(linear: nn.Module) -> None:
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)
