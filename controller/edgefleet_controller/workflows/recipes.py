"""A variant's recipe as its target has it carried out."""

from edgefleet_compression.recipe import Recipe, parse_recipe, with_channel_multiple
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_deploy.targets import get_target


def recipe_of(variant: VariantWork) -> Recipe:
    """The recipe, and where it leaves ``round_to`` open the number of channels that the target computes at a time.

    Candidates are cached by what this returns: targets with the same number share one, others have their own.
    """
    recipe = parse_recipe(variant.recipe)
    return with_channel_multiple(recipe, get_target(variant.target).multiple_for(recipe.precision))
