"""BatchNorm's statistics after a pass that changed weights without training them."""

from typing import Final

from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.evaluate import as_tensor
from edgefleet_compression.training.batchnorm import augmentation_of, has_batchnorm, reestimate_batchnorm_

BATCHNORM_REESTIMATED: Final = "batchnorm_reestimated"
"""Note: BatchNorm's means and variances are those of the training split under the present weights."""

BATCHNORM_KEPT: Final = "batchnorm_kept_no_data"
"""Note: weights changed, and without data BatchNorm's means and variances could not follow; accuracy can suffer."""


def settle_batchnorm_(model: nn.Module, before: TorchCandidate, context: Context) -> tuple[str, ...]:
    """Make the network's statistics anew, in place, and return the notes about it.

    ``before``: the candidate whose weights were changed. Its own statistics tell whether they are of augmented images, and
    the new ones are made of the same.
    """
    if not has_batchnorm(model):
        return ()
    if context.data is None:
        return (BATCHNORM_KEPT,)
    samples = as_tensor(fit_to(before.structure, context.data).train.x)
    augmentation = augmentation_of(before.model, samples)
    reestimate_batchnorm_(model, samples, augmentation=augmentation, seed=context.seed)
    return (BATCHNORM_REESTIMATED,)
