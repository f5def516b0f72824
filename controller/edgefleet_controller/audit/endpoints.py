"""``/v1/audit``."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgefleet_controller.audit import service
from edgefleet_controller.audit.schemas import AuditCheck, AuditRequest, AuditView
from edgefleet_controller.pagination import Page
from edgefleet_controller.services import ReadSession

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit")
def list_audit(page: Annotated[AuditRequest, Query()], session: ReadSession) -> Page[AuditView]:
    """Who changed what, newest first."""
    return service.page_of_entries(session, page)


@router.get("/audit/check")
def check_audit(session: ReadSession) -> AuditCheck:
    """Whether an entry was changed or removed after it was written."""
    return service.check_chain(session)
