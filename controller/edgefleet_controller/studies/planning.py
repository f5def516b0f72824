"""Turns what is asked for into searches, one for each kind of board, and refuses what cannot be searched."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from edgefleet_compression.errors import CompressionError, SearchInvalid
from edgefleet_compression.search.objectives import Constraint, Metric, Objective, Reachable, check_objectives
from edgefleet_compression.search.policy import Policy
from edgefleet_compression.search.space import SearchSpace
from edgefleet_compression.search.study import StudySpec
from edgefleet_controller.db.tables import Model
from edgefleet_controller.results.constraints import FORM
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.errors import InvalidStudy
from edgefleet_controller.studies.schemas import StudyCreate
from edgefleet_controller.studies.spaces import nature_of_model, reachable_size, space_for, warm_points

JsonObject = dict[str, Any]


def with_searches(
    plans: Sequence[BoardPlan], request: StudyCreate, model: Model, policies: Sequence[Policy]
) -> list[BoardPlan]:
    """The plans with their searches; a kind of board that cannot measure what is asked for is left out with the reason.

    policies: what earlier searches have taught.

    InvalidStudy where none is left, or the request itself cannot be searched.
    """
    objectives = [objective_of(item) for item in request.objectives]
    constraints = [constraint_of(item) for item in request.constraints]
    goals = [constraint_of(item) for item in request.goals]
    if request.n_trials < 1:
        raise InvalidStudy("budget_too_small", "The budget is too small for one trial; give at least 1 as n_trials.")
    found: list[BoardPlan] = []
    for plan in plans:
        if plan.left_out is not None:
            found.append(plan)
            continue
        try:
            check_objectives(objectives, (*constraints, *goals), unmeasurable=plan.unmeasurable)
            space = space_for(request, plan.targets, model)
            if any(item.metric == "size_bytes" for item in (*constraints, *goals)):  # else the grid need not be made
                known: dict[Metric, Reachable] = {"size_bytes": reachable_size(space, model)}
                check_objectives(objectives, (*constraints, *goals), reachable=known)
            spec = make_spec(request, plan, space, objectives, constraints, goals)
            if request.reuse and request.space is None:
                spec = spec.model_copy(update={"warm_starts": warm_points(spec, policies, nature_of_model(model))})
            found.append(replace(plan, spec=spec.model_dump(mode="json")))
        except InvalidStudy as err:
            found.append(replace(plan, left_out={"code": err.code, "message": err.message}))
        except CompressionError as err:
            found.append(replace(plan, left_out={"code": err.code, "message": err.message, "detail": err.detail}))
    _refuse_if_none_left(found)
    return found


def _refuse_if_none_left(plans: Sequence[BoardPlan]) -> None:
    if any(plan.spec is not None for plan in plans):
        return
    reasons = [{"board": plan.name, **(plan.left_out or {})} for plan in plans]
    asked = [reason for reason in reasons if reason["code"] != "no_target"] or reasons
    raise InvalidStudy(str(asked[0]["code"]), f"{asked[0]['board']}: {asked[0]['message']}", boards=reasons)


def make_spec(
    request: StudyCreate,
    plan: BoardPlan,
    space: SearchSpace,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    goals: Sequence[Constraint],
) -> StudySpec:
    """The search on this kind of board; InvalidStudy or SearchInvalid with the code of what is wrong."""
    document: JsonObject = {
        "objectives": [item.model_dump(mode="json") for item in objectives],
        "constraints": [item.model_dump(mode="json") for item in constraints],
        "goals": [item.model_dump(mode="json") for item in goals],
        "space": space.model_dump(mode="json"),
        "n_trials": request.n_trials,
        "seed": request.seed,
        "sampler": request.sampler,
        "batch": request.batch or len(plan.device_ids),
        "order": request.order,
    }
    if request.ladder is not None:
        document["ladder"] = request.ladder.model_dump(mode="json")
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        code = first["type"] if first["type"].isidentifier() else "search_invalid"
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidStudy(code, f"{first['msg']}{f' (at {where})' if where else ''}") from error


def objective_of(wanted: Metric | Objective) -> Objective:
    """The objective of this name, or the one that is given; InvalidStudy ``frame_invalid`` for ends that are no numbers."""
    if not isinstance(wanted, Objective):
        return Objective(metric=wanted)
    if not all(math.isfinite(end) for end in (wanted.best, wanted.worst) if end is not None):
        raise InvalidStudy("frame_invalid", f"The frame of {wanted.metric} needs finite ends.")
    return wanted


def constraint_of(wanted: str | Constraint) -> Constraint:
    """The bound that ``METRIC<=VALUE`` or ``METRIC>=VALUE`` says; InvalidStudy ``constraint_invalid`` for anything else."""
    if isinstance(wanted, Constraint):
        return _finite(wanted)
    found = FORM.fullmatch(wanted)
    try:
        if found is None:
            raise ValueError("it is neither METRIC<=VALUE nor METRIC>=VALUE")
        bound = {"maximum" if found["relation"] == "<=" else "minimum": float(found["value"])}
        return _finite(Constraint.model_validate({"metric": found["figure"], **bound}))
    except (ValueError, SearchInvalid) as err:
        first = str(err).splitlines()[0]
        raise InvalidStudy("constraint_invalid", f"The constraint {wanted!r} cannot be used: {first}.") from err


def _finite(constraint: Constraint) -> Constraint:
    if not math.isfinite(constraint.bound):
        raise InvalidStudy("constraint_invalid", f"The bound of {constraint.metric} is not a finite number.")
    return constraint
