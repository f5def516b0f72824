"""What the frame of every page needs: who looks at it, and where that person may go."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from edgefleet_controller.auth.access import Role
from edgefleet_controller.auth.principal import Principal


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page, as far as pages care."""

    name: str = ""
    is_signed_in: bool = False
    may_view: bool = False
    may_operate: bool = False
    may_administer: bool = False
    """some project"""
    is_fleet_admin: bool = False


@dataclass(frozen=True)
class Place:
    """An entry of the navigation."""

    label: str
    path: str
    role: Role


PLACES: Sequence[Place] = (
    Place("Fleet", "/fleet", Role.VIEWER),
    Place("Jobs", "/jobs", Role.VIEWER),
    Place("Studies", "/studies", Role.VIEWER),
    Place("Results", "/results", Role.VIEWER),
    Place("Front", "/front", Role.VIEWER),
    Place("Models", "/models", Role.VIEWER),
    Place("Audit", "/audit", Role.FLEET_ADMIN),
    Place("Tokens", "/tokens", Role.PERSON),
    Place("Users", "/users", Role.FLEET_ADMIN),
)


def visitor_of(request: Request) -> Visitor:
    """Who makes the request; a stranger where nobody signed in."""
    found: Principal | None = getattr(request.state, "principal", None)
    if found is None:
        return Visitor()
    return Visitor(
        name=found.name,
        is_signed_in=True,
        may_view=_holds(found, Role.VIEWER),
        may_operate=_holds(found, Role.OPERATOR),
        may_administer=_holds(found, Role.ADMIN),
        is_fleet_admin=found.is_admin,
    )


def places_for(visitor: Visitor) -> list[Place]:
    """Where the visitor may go, in the order of the navigation."""
    return [place for place in PLACES if _may_enter(visitor, place.role)]


def _holds(principal: Principal, role: Role) -> bool:
    projects = principal.projects_with(role)
    return projects is None or bool(projects)


def _may_enter(visitor: Visitor, role: Role) -> bool:
    if role is Role.FLEET_ADMIN:
        return visitor.is_fleet_admin
    return visitor.is_signed_in if role is Role.PERSON else visitor.may_view
