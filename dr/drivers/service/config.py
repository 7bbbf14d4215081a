"""What a target says of its prediction service."""

from __future__ import annotations

from dr.config.model import Section, check_reference, without_login


class ServiceConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The prediction service: where the source's is, and how one is put on a restored database."""

    url: str
    """Base URL of the service on the source."""
    command: tuple[str, ...]
    """Started against a restored database, to which it connects, with DATABASE_URL, HOST, PORT, and API_TOKEN where the
    target names a token, in its environment."""
    login: str
    """The role among ``postgres.roles`` the service connects as."""
    requests: tuple[dict[str, object], ...]
    """Bodies of /predict for synthetic patients: probes send them in turn; their answers are the golden ones."""
    artifacts: str = ""
    """Directory of model artifacts; passed on as MODEL_DIR, and digested against model_versions."""
    expected: tuple[str, ...] = ()
    """Fields that a good answer has; empty: any JSON object is one."""
    volatile: tuple[str, ...] = ("prediction_id", "created_at")
    """Fields of an answer that differ every time and are left out when answers are compared."""
    token: str = ""
    """Where the token is found that is sent with each request to /predict (``Authorization: Bearer``), and that the
    command gets as API_TOKEN; empty: none is sent, and none given."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL with a login, and for a token that is no reference."""
        without_login("service.url", self.url)
        if self.token:
            check_reference("token of the service", self.token)

    def endpoints(self) -> tuple[str, ...]:
        return (self.url,)
