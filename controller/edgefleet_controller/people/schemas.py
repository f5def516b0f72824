"""Documents of ``/v1/users``, ``/v1/projects``, ``/v1/api-tokens`` and ``/v1/me``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from edgefleet_controller.auth.passwords import MAX_LENGTH, MIN_LENGTH

RoleName = Literal["viewer", "operator", "admin"]
MAX_TTL_S = 10 * 365 * 86400
Name: Any = Field(
    pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="letters, digits, dot, dash, underscore, @"
)
Password: Any = Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH, description="password; stored as a scrypt hash")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserCreate(_Request):
    """A person or a program."""

    name: str = Name
    password: SecretStr | None = Field(
        default=None, min_length=MIN_LENGTH, max_length=MAX_LENGTH, description="password; null: API tokens only"
    )
    is_admin: bool = Field(default=False, description="administers the whole fleet")


class UserView(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, usr_...")
    name: str = Field(description="unique name")
    is_admin: bool = Field(description="whether the user administers the whole fleet")
    has_password: bool = Field(description="whether the user may sign in with a password")
    disabled_at: datetime | None = Field(description="since when nothing of the user's works; null: it does")
    created_at: datetime = Field(description="when the user was made, UTC")


class PasswordSet(_Request):
    """A new password for a user, by an administrator."""

    password: SecretStr = Password


class PasswordChange(_Request):
    """A new password for oneself."""

    present: SecretStr = Field(max_length=MAX_LENGTH, description="the present password")
    password: SecretStr = Password


class ProjectCreate(_Request):
    """A project."""

    name: str = Name


class ProjectView(BaseModel):
    """A project."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, prj_...")
    name: str = Field(description="unique name")
    created_at: datetime = Field(description="when it was made, UTC")
    quota_bytes: int | None = Field(
        default=None, description="what it may have sent at most; null: no quota of its own"
    )
    sent_bytes: int = Field(default=0, description="size of the stored files that its people and boards sent")


class ProjectChange(_Request):
    """Another quota for a project."""

    quota_bytes: int | None = Field(
        ge=1,
        le=2**62,
        description="what its people and boards may have sent at most, in bytes; null: no quota of its own",
    )


class MemberSet(_Request):
    """The role of a user in a project."""

    role: RoleName = Field(description="viewer, operator or admin; each holds those before it")


class MemberView(BaseModel):
    """A user's role in a project."""

    user_id: str = Field(description="identifier of the user")
    user_name: str = Field(description="name of the user")
    role: RoleName = Field(description="role in the project")


class Members(BaseModel):
    """Who may do what in a project."""

    items: list[MemberView] = Field(description="by name")


class ApiTokenCreate(_Request):
    """A token for programs."""

    name: str = Name
    role: RoleName = Field(default="operator", description="most that it may do; never more than its user")
    project: str | None = Field(default=None, description="the only project it is for; null: all of its user's")
    user: str | None = Field(default=None, description="whose it is; only administrators name another than themselves")
    ttl_s: float | None = Field(
        default=90 * 86400.0, gt=0, le=MAX_TTL_S, description="life in seconds, default 90 days; null: without end"
    )


class ApiTokenView(BaseModel):
    """A token without its secret."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, tok_...")
    name: str = Field(description="name")
    hint: str = Field(description="prefix and last four characters of the token")
    user_id: str = Field(description="whose it is")
    project_id: str | None = Field(description="the only project it is for; null: all of its user's")
    role: RoleName = Field(description="most that it may do")
    expires_at: datetime | None = Field(description="end of its life, UTC; null: none")
    revoked_at: datetime | None = Field(description="when it was revoked, UTC; null: it was not")
    created_at: datetime = Field(description="when it was made, UTC")


class ApiTokenCreated(ApiTokenView):
    """A token; its secret is shown this once."""

    token: str = Field(description="eot_..., send it as `Authorization: Bearer`")


class Me(BaseModel):
    """Who the request comes from."""

    kind: Literal["operator_token", "user", "api_token"] = Field(description="what signed in")
    name: str = Field(description="user, or user/token")
    user_id: str | None = Field(description="identifier of the user; null for the operator token")
    is_admin: bool = Field(description="whether it administers the whole fleet")
    roles: dict[str, RoleName] = Field(description="role by project identifier")
