"""The official client, built from our settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.elasticsearch.settings import ElasticsearchSettings, check_credentials, normalised_host

if TYPE_CHECKING:
    from elastic_transport import Serializer
    from elasticsearch import Elasticsearch


def connect(
    settings: ElasticsearchSettings, serializers: Mapping[str, Serializer] | None = None
) -> Elasticsearch:
    """A client; nothing is sent yet. Use it as a context manager.

    Each request is tried again as `blocks.elasticsearch.transport` says. Wrap calls in `failures.translated`.

    Args:
        serializers: Of one's own, by media type.
    Raises: ConfigError for settings that cannot be right.
    """
    from elasticsearch import Elasticsearch

    from blocks.elasticsearch.transport import PatientTransport
    from flywheel.errors import ConfigError

    check_credentials(settings)
    options: dict[str, Any] = {}
    if settings.cloud_id:
        options["cloud_id"] = settings.cloud_id
    else:
        options["hosts"] = [normalised_host(url) for url in settings.hosts]
    if settings.api_key:
        options["api_key"] = settings.api_key
    elif settings.username:
        options["basic_auth"] = (settings.username, settings.password)
    if settings.ca_certs:
        if not Path(settings.ca_certs).is_file():
            raise ConfigError(
                f"There is no file {settings.ca_certs} with a certificate authority; correct ca_certs "
                "(ELASTICSEARCH_CA_CERTS)."
            )
        options["ca_certs"] = settings.ca_certs
    if settings.ca_fingerprint:
        options["ssl_assert_fingerprint"] = settings.ca_fingerprint
    if serializers:
        options["serializers"] = dict(serializers)
    patience = {"attempts": settings.attempts, "first_pause": settings.first_pause}
    try:
        return Elasticsearch(
            transport_class=type("PatientTransport", (PatientTransport,), patience),
            request_timeout=settings.timeout_seconds,
            http_compress=settings.compress,
            connections_per_node=max(10, 2 * settings.slices),
            **options,
        )
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"The settings for Elasticsearch cannot be used: {error}") from error
