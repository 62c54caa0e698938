"""What an answer of Elasticsearch means to a run: may it be asked again?"""

from __future__ import annotations

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError

from blocks.elasticsearch.failures import translated
from blocks.elasticsearch.settings import ElasticsearchSettings
from flywheel.errors import DataError, EndpointRefused, FlywheelError, RemoteRejected, TransientRemoteError


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (401, "security_exception", EndpointRefused),
        (403, "security_exception", EndpointRefused),
        (404, "index_not_found_exception", DataError),
        (404, "search_context_missing_exception", TransientRemoteError),
        (404, "something_else", RemoteRejected),
        (400, "parsing_exception", RemoteRejected),
        (429, "es_rejected_execution_exception", TransientRemoteError),
    ],
)
def test_what_may_pass_is_told_apart_from_what_will_not(
    status: int, kind: str, raised: type[FlywheelError]
) -> None:
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "es.example", 9200))
    body = {"error": {"root_cause": [{"type": kind, "reason": "so it is"}], "type": kind}, "status": status}
    with pytest.raises(raised) as found, translated(ElasticsearchSettings()):
        raise ApiError(kind, meta, body)
    assert type(found.value) is raised
