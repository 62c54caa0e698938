"""Elasticsearch behind TLS, with a certificate that one has to be told to trust."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.store import ElasticsearchLogStore
from flywheel.errors import EndpointRefused
from tests.contracts.log_store import ids, read
from tests.fakes.elasticsearch_stub import elasticsearch_stub


class Secured(NamedTuple):
    settings: ElasticsearchSettings
    authority: trustme.CA


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    chain = tmp_path / "chain.pem"  # with the authority, as Elasticsearch sends it
    parts = (server.private_key_pem, *server.cert_chain_pems, authority.cert_pem)
    chain.write_bytes(b"".join(part.bytes() for part in parts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with elasticsearch_stub(3, tls=context) as stub:
        hosts = (f"https://127.0.0.1:{stub.server_port}",)
        yield Secured(ElasticsearchSettings(hosts=hosts, first_pause=0.01, attempts=3), authority)


def test_a_certificate_that_nobody_trusts_is_refused_at_once_with_what_to_give(secured: Secured) -> None:
    with pytest.raises(EndpointRefused, match="ca_certs or ca_fingerprint"):
        read(ElasticsearchLogStore(secured.settings))


def test_the_authority_as_a_file_is_trusted(secured: Secured, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    secured.authority.cert_pem.write_to_path(str(file))
    store = ElasticsearchLogStore(replace(secured.settings, ca_certs=str(file)))
    assert ids(read(store)) == ["r0", "r1", "r2"]


def test_the_authority_by_its_fingerprint_is_trusted_and_another_is_not(secured: Secured) -> None:
    der = ssl.PEM_cert_to_DER_cert(secured.authority.cert_pem.bytes().decode())
    fingerprint = hashlib.sha256(der).hexdigest()
    assert ids(read(ElasticsearchLogStore(replace(secured.settings, ca_fingerprint=fingerprint)))) == [
        "r0",
        "r1",
        "r2",
    ]
    wrong = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(EndpointRefused):
        read(ElasticsearchLogStore(replace(secured.settings, ca_fingerprint=wrong)))
