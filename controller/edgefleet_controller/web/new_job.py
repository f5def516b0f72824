"""The form of a new job: model, recipes, targets with what would be refused, boards, settings, and what to expect."""

import json
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import Recipe
from edgefleet_controller.db.tables import Model
from edgefleet_controller.devices import repository as devices
from edgefleet_controller.errors import ControllerError, InvalidRequest
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.jobs.preview import preview, refusals_of
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.models import repository as models
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.services import ReadSession, ServicesOf
from edgefleet_controller.web.checking import checked
from edgefleet_controller.web.forms import Form, FormOf
from edgefleet_controller.web.rendering import SECURITY_HEADERS, redirect, render
from edgefleet_deploy.targets import TARGETS

router = APIRouter(include_in_schema=False, default_response_class=Response)
N_CHOICES = 200
JsonObject = dict[str, Any]


def job_of(form: Form) -> JobCreate:
    """What the form asks for; InvalidRequest that says what is wrong with it."""
    recipes: list[str | JsonObject] = list(form.texts("recipes"))
    own = form.text("own_recipe")
    if own:
        recipes.append(_own_recipe(own))
    if not recipes:
        raise InvalidRequest("Choose at least one recipe, or write one of your own.")
    settings = {name: form.text(name) for name in ("threads", "batch", "seconds", "launches") if form.text(name)}
    return checked(
        JobCreate,
        name=form.optional("name"),
        model=form.text("model"),
        recipes=recipes,
        targets=form.texts("targets") or ["onnxruntime"],
        devices=form.texts("devices") or None,
        settings=settings,
        seed=form.optional("seed"),
        priority=form.optional("priority"),
        no_cache=form.is_set("no_cache") or None,
    )


def _own_recipe(text: str) -> JsonObject:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as err:
        raise InvalidRequest(f"The recipe of your own is not JSON: {err.msg} in line {err.lineno}.") from err
    if not isinstance(document, dict):
        raise InvalidRequest('The recipe of your own is an object, such as {"name": "mine", "passes": []}.')
    return document


def _page(
    request: Request, session: Session, form: Form, model_name: str | None, error: ControllerError | None
) -> Response:
    listed, _ = models.page_of_models(session, PageRequest(limit=N_CHOICES))
    boards, _ = devices.page_of_devices(session, PageRequest(limit=N_CHOICES))
    model = _chosen(session, listed, model_name)
    refused = {name: refusals_of(model.facts, recipe) for name, recipe in PRESETS.items()} if model is not None else {}
    return render(
        request,
        "new_job.html",
        200 if error is None else error.status,
        models=listed,
        model=model,
        presets=PRESETS,
        targets=TARGETS,
        refused=refused,
        boards=[board for board in boards if board.state != "revoked"],
        form=form,
        error=error,
        key=secrets.token_urlsafe(16),
    )


def _chosen(session: Session, listed: list[Model], name_or_id: str | None) -> Model | None:
    if name_or_id:
        return models.find(session, name_or_id)
    return listed[0] if listed else None


@router.get("/jobs/new")
def show_form(
    request: Request, session: ReadSession, model: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """The form; another model changes what would be refused."""
    return _page(request, session, Form(b""), model, None)


@router.get("/jobs/new/recipe-schema")
def show_schema() -> Response:
    """The recipe's JSON schema, from which the script makes the fields of a recipe of one's own."""
    return JSONResponse(Recipe.model_json_schema(), headers=SECURITY_HEADERS)


@router.post("/jobs/new/preview")
def show_preview(request: Request, session: ReadSession, form: FormOf) -> Response:
    """What the job would do, as a part of the form's page; what is wrong with it is said there too."""
    try:
        found = preview(session, job_of(form))
    except ControllerError as error:
        return render(request, "job_preview.html", found=None, error=error)
    return render(request, "job_preview.html", found=found, error=None)


@router.post("/jobs/new")
def submit_job(request: Request, services: ServicesOf, form: FormOf) -> Response:
    """Submit it and go to its page; a form that was sent twice makes one job."""
    try:
        wanted = job_of(form)
        with services.database.writing() as session:
            submission = jobs.submit(session, wanted, form.optional("key"))
    except ControllerError as error:
        with services.database.reading() as session:
            return _page(request, session, form, form.optional("model"), error)
    return redirect(f"/jobs/{submission.job.id}")
