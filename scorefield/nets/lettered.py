"""An autoencoder of texts: letters as a shorter sequence of vectors, and back."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scorefield.base import BadInput
from scorefield.nets.autoencoder import NARROWEST, WIDEST, Posterior
from scorefield.nets.contract import check_sizes, config_of
from scorefield.nets.init import preserve_variance, zero


class LetterCoder(nn.Module):
    """Texts x (B, L), numbers of letters, as latents z (B, channels, P) of P = ceil(L / patch)
    places, each of `patch` letters in a row:

        q(z | x) = N(mean, diag exp(log_var)),    (mean, log_var) = Wout trunk(W (E[x] of a patch))
        log p(x_l | z) = log softmax(Wout trunk(W z)) at the letter's place in its patch
        trunk: h = h + places,    h = h + W' silu(conv_3(LN(h)))                    `blocks` times

    Letters are independent given z: all that joins them is in z, whose law is a matter of a
    diffusion of latents (Rombach et al. 2022). `decode` says the likeliest letters, and with
    `ends` nothing (letter 0) behind the first end.

    >>> coder = LetterCoder((6,), letters=3, width=8, blocks=1, channels=2)
    >>> coder.latent_shape, coder.decode(torch.zeros(1, 2, 2)).shape
    ((2, 2), torch.Size([1, 6]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        letters: int,
        width: int = 128,
        blocks: int = 2,
        patch: int = 4,
        channels: int = 16,
        ends: bool = True,
    ) -> None:
        super().__init__()
        self.config = config_of(locals())
        if len(shape) != 1:
            raise BadInput(f"shape is {tuple(shape)}.", "Letters have the shape (L,).")
        check_sizes(shape=shape, letters=letters, width=width, blocks=blocks, patch=patch,
                    channels=channels)  # fmt: skip
        self.shape, self.letters, self.patch, self.ends = tuple(shape), letters, patch, ends
        places = -(-shape[0] // patch)
        self.latent_shape = (channels, places)
        self.enter = nn.Embedding(letters + 1, width)
        self.first = preserve_variance(nn.Linear(patch * width, width))
        self.encoder, self.decoder = (Trunk(places, width, blocks) for _ in range(2))
        self.posterior = preserve_variance(nn.Linear(width, 2 * channels))
        self.back = preserve_variance(nn.Linear(channels, width))
        self.out = zero(preserve_variance(nn.Linear(width, patch * letters)))

    def encode(self, x: Tensor) -> Posterior:
        """q(z | x)."""
        places = self.latent_shape[1]
        filled = F.pad(x.long(), (0, places * self.patch - x.shape[1]), value=self.letters)
        h = self.first(self.enter(filled.view(len(x), places, self.patch)).flatten(2))
        mean, log_var = self.posterior(self.encoder(h)).transpose(1, 2).chunk(2, dim=1)
        return Posterior(mean, log_var.clamp(NARROWEST, WIDEST))

    def log_p(self, z: Tensor) -> Tensor:
        """`log p(x_l | z)` (B, L, letters) of every letter."""
        said = self.out(self.decoder(self.back(z.transpose(1, 2))))
        logits = said.unflatten(2, (self.patch, self.letters)).flatten(1, 2)
        return logits[:, : self.shape[0]].float().log_softmax(-1)

    def decode(self, z: Tensor) -> Tensor:
        """The likeliest letters (B, L), as floats."""
        x = self.log_p(z).argmax(-1)
        return (x * ((x == 0).cumsum(1) == 0) if self.ends else x).to(z)


class Trunk(nn.Module):
    """The last line of `LetterCoder`, of h (B, P, width)."""

    def __init__(self, places: int, width: int, blocks: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(places, width))
        self.mix = nn.ModuleList(
            preserve_variance(nn.Conv1d(width, width, 3, padding=1)) for _ in range(blocks)
        )
        self.narrow = nn.ModuleList(zero(nn.Linear(width, width)) for _ in range(blocks))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.places
        for mix, narrow in zip(self.mix, self.narrow, strict=True):
            y = F.layer_norm(h, h.shape[-1:]).transpose(1, 2)
            h = h + narrow(F.silu(mix(y)).transpose(1, 2))
        return F.layer_norm(h, h.shape[-1:])
