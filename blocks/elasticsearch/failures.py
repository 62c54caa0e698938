"""What the client raises, as errors of our own that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.transport import RETRIED
from flywheel.errors import DataError, EndpointRefused, FlywheelError, RemoteRejected, TransientRemoteError

_LONGEST_REASON = 300


@contextmanager
def translated(settings: ElasticsearchSettings) -> Iterator[None]:
    """Turn the client's errors into ours.

    Raises: EndpointRefused (credentials, certificate, not Elasticsearch), DataError (no such index),
        TransientRemoteError (unreachable, overloaded), RemoteRejected (anything else that was refused).
    """
    from elastic_transport import ConnectionError as ConnectionFailed
    from elastic_transport import ConnectionTimeout, TlsError, TransportError
    from elasticsearch import ApiError, UnsupportedProductError

    where = settings.cloud_id.partition(":")[0] if settings.cloud_id else ", ".join(settings.hosts)
    try:
        yield
    except FlywheelError:
        raise
    except UnsupportedProductError as error:
        raise EndpointRefused(
            f"What answers at {where} is not Elasticsearch; check the address. OpenSearch is not supported."
        ) from error
    except ApiError as error:
        raise _of_answer(error, where, settings) from error
    except TlsError as error:
        raise EndpointRefused(
            f"The certificate of {where} is not trusted: give its authority as ca_certs or ca_fingerprint "
            "(ELASTICSEARCH_CA_CERTS, ELASTICSEARCH_CA_FINGERPRINT)."
        ) from error
    except (ConnectionFailed, ConnectionTimeout) as error:
        gave_up = TransientRemoteError(
            f"Elasticsearch at {where} cannot be reached after {settings.attempts} attempts ({_short(str(error))}); "
            "check that it runs and that the address is right."
        )
        gave_up.attempts = settings.attempts
        raise gave_up from error
    except TransportError as error:
        raise RemoteRejected(
            f"Elasticsearch at {where} sent an answer that cannot be read: {_short(str(error))}. Check that no proxy "
            "stands between."
        ) from error


def reason_of(body: Any) -> str:
    """What Elasticsearch gives as the cause of an error, on one line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        causes = error.get("root_cause") or [error]
        first = causes[0] if isinstance(causes, list) and isinstance(causes[0], dict) else error
        failed = error.get("failed_shards")
        if not first.get("reason") and isinstance(failed, list) and failed and isinstance(failed[0], dict):
            first = failed[0].get("reason") or first
        error = f"{first.get('type', 'error')}: {first.get('reason', 'no reason given')}"
    return _short(str(error))


def is_lost_point_in_time(error: Exception) -> bool:
    """Whether the view of the log is gone: expired, or its node was restarted."""
    text = str(getattr(error, "body", ""))
    return "search_context_missing_exception" in text or "No search context found" in text


def _of_answer(error: Any, where: str, settings: ElasticsearchSettings) -> FlywheelError:
    status, reason = error.meta.status, reason_of(error.body)
    if status == 401:
        return EndpointRefused(
            f"Elasticsearch at {where} does not accept our credentials (401); check the API key, or user name and "
            "password (ELASTICSEARCH_API_KEY; ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD)."
        )
    if status == 403:
        return EndpointRefused(
            f"Our credentials do not allow this on {settings.index} at {where} (403, {reason}); reading needs the "
            "privileges read and view_index_metadata, loading also create_index and write, and manage_index_templates."
        )
    if "index_not_found_exception" in reason:
        return missing_index(settings)
    if is_lost_point_in_time(error):  # while it was counted; reading opens a new one and goes on
        return TransientRemoteError(
            f"Elasticsearch at {where} lost the view of the log that was just opened; it may have been restarted. "
            "Run again."
        )
    if status in RETRIED:
        gave_up = TransientRemoteError(
            f"Elasticsearch at {where} still answers {status} after {settings.attempts} attempts ({reason}); try again "
            "when it is less busy."
        )
        gave_up.attempts = settings.attempts
        return gave_up
    return RemoteRejected(f"Elasticsearch at {where} refused a request ({status}, {reason}).")


def missing_index(settings: ElasticsearchSettings) -> DataError:
    """The error for a log that is not there."""
    return DataError(
        f"Elasticsearch has no index, alias or data stream {settings.index}; correct the name (ELASTICSEARCH_INDEX or "
        "the block's index), or load a log with `flywheel ingest FILES --to elasticsearch`."
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "…"
