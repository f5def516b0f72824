"""What keeps a caller from acting, beside a missing credential or role.

InvalidRequest
└── ProjectRequired              422 project_required
NotAllowed
└── ForeignOrigin                403 foreign_origin
"""

from edgefleet_controller.errors import InvalidRequest, NotAllowed


class ProjectRequired(InvalidRequest):
    """You have a role in several projects: say which one with the header X-Edgefleet-Project or --project."""

    code = "project_required"


class ForeignOrigin(NotAllowed):
    """A change asked for with a cookie must come from this site's own pages."""

    code = "foreign_origin"
