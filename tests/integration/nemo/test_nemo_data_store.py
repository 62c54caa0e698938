"""Files and registrations on the platform, over the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.nemo.connection import NemoConnection
from blocks.nemo.parts import opened
from flywheel.errors import RemoteError, RemoteRejected, TransientRemoteError
from tests.fakes.nemo.exchanges import Fault, html_burst
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import connection_to

NAME = "flywheel/data"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file of a few bytes, one of two megabytes, and an empty one."""
    contents = {
        "training/training.jsonl": b'{"a": 1}\n' * 230_000,
        "validation/validation.jsonl": b"{}\n",
        "empty": b"",
    }
    made = {}
    for number, (path, content) in enumerate(contents.items()):
        made[path] = tmp_path / str(number)
        made[path].write_bytes(content)
    return made


async def put(connection: NemoConnection, files: dict[str, Path]) -> str:
    async with opened(connection) as parts:
        return await parts.put_dataset("data", files, "test")


def stored(nemo: NemoServer) -> dict[str, bytes]:
    return nemo.hub.files("dataset", NAME)


@pytest.mark.parametrize("lfs", [True, False], ids=["lfs", "regular"])
async def test_what_was_uploaded_is_there_byte_for_byte_and_registered(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path], lfs: bool
) -> None:
    nemo.hub.lfs = lfs
    url = await put(connection, files)

    assert stored(nemo) == {path: local.read_bytes() for path, local in files.items()}
    assert url == "hf://datasets/flywheel/data"
    assert nemo.entities.datasets[NAME]["files_url"] == url
    assert set(nemo.hub.namespaces) == set(nemo.entities.namespaces) == {"flywheel"}
    assert ("PUT" in {exchange.method for exchange in nemo.exchanges}) == lfs


async def test_uploading_again_changes_nothing(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    await put(connection, files)
    before = stored(nemo).copy()
    await put(connection, files)

    assert stored(nemo) == before
    assert len(nemo.entities.datasets) == 1


@pytest.mark.parametrize(
    "route",
    [
        "POST /v1/datastore/namespaces",
        "POST /v1/namespaces",
        "POST /v1/hf/api/repos/create",
        "POST /v1/hf/api/datasets/flywheel/data/preupload",
        "POST /v1/hf/datasets/flywheel/data.git/info/lfs",
        "PUT /lfs/",
        "POST /lfs/.*/verify",
        "POST /v1/hf/api/datasets/flywheel/data/commit",
        "POST /v1/datasets",
    ],
)
@pytest.mark.parametrize("kind", ["lose", "after"])
async def test_an_answer_lost_after_the_work_was_done_does_no_harm(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path], route: str, kind: str
) -> None:
    fault = Fault(route, kind)  # type: ignore[arg-type]
    nemo.faults = [fault]
    await put(connection, files)

    assert fault.times == 0
    assert stored(nemo) == {path: local.read_bytes() for path, local in files.items()}
    assert set(nemo.entities.datasets) == {NAME}


async def test_a_burst_of_proxy_pages_is_outlived(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    nemo.faults = [
        html_burst("POST /v1/hf/api/repos/create", 3),
        html_burst("POST /v1/datasets", 3, status=200),
    ]
    await put(connection, files)

    assert set(nemo.entities.datasets) == {NAME}


async def test_a_burst_without_end_ends_in_an_error_with_the_proxys_words(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    nemo.faults = [html_burst("POST /v1/hf/api/repos/create", 10**6)]
    with pytest.raises(TransientRemoteError, match=r"The Data Store answered 502 .*Bad Gateway") as failed:
        await put(connection, files)
    assert failed.value.attempts == 5


async def test_a_service_that_never_answers_costs_bounded_time(
    nemo: NemoServer, files: dict[str, Path]
) -> None:
    import msgspec

    from tests.integration.nemo.conftest import WAITS

    hasty = connection_to(nemo, waits=msgspec.structs.replace(WAITS, request=0.05))
    nemo.faults = [Fault("GET /v1/namespaces", "hang", times=10)]
    with pytest.raises(TransientRemoteError, match="gave no answer in time"):
        await put(hasty, files)


async def test_a_name_that_the_platform_does_not_allow_is_told_with_its_reason(
    nemo: NemoServer, files: dict[str, Path]
) -> None:
    with pytest.raises(RemoteRejected, match=r"body\.id: this id is reserved"):
        await put(connection_to(nemo, namespace="forbidden"), files)


async def test_a_registration_that_points_elsewhere_is_set_right(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    await put(connection, files)
    nemo.entities.datasets[NAME]["files_url"] = "hf://datasets/flywheel/other"
    await put(connection, files)

    assert nemo.entities.datasets[NAME]["files_url"] == "hf://datasets/flywheel/data"


async def test_a_registration_that_does_not_take_is_an_error(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    await put(connection, files)
    nemo.entities.datasets[NAME]["files_url"] = "hf://datasets/flywheel/other"
    nemo.faults = [Fault("PATCH /v1/datasets", "instead", 200, "{}")]
    with pytest.raises(RemoteError, match="points to"):
        await put(connection, files)


async def test_a_file_that_the_store_lists_in_another_size_is_no_upload(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    tree = '[{"type": "file", "path": "training/training.jsonl", "size": 3, "oid": "x"}]'
    nemo.faults = [Fault("GET /v1/hf/api/datasets/flywheel/data/tree", "instead", 200, tree)]
    with pytest.raises(TransientRemoteError, match="does not list"):
        await put(connection, files)


async def test_deleting_removes_files_and_registration_and_may_be_repeated(
    nemo: NemoServer, connection: NemoConnection, files: dict[str, Path]
) -> None:
    await put(connection, files)
    async with opened(connection) as parts:
        await parts.delete_dataset("data")
        await parts.delete_dataset("data")

    assert nemo.hub.repos == {}
    assert nemo.entities.datasets == {}


async def test_a_model_is_told_by_its_files_not_by_its_entity(
    nemo: NemoServer, connection: NemoConnection
) -> None:
    nemo.entities.create_model("flywheel/m@v1", "base", None)
    async with opened(connection) as parts:
        assert await parts.entities.artifact_status("flywheel/m@v1") == "created"
        assert await parts.entities.artifact_status("flywheel/none@v1") is None
