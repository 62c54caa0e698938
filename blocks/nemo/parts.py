"""The parts of the API over open connections, and what takes several of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from blocks.nemo.connection import NemoConnection
from blocks.nemo.customization_configs import CustomizationConfigs
from blocks.nemo.customizer import Customizer
from blocks.nemo.data_store import DataStore
from blocks.nemo.deployments import Deployments
from blocks.nemo.entity_store import EntityStore
from blocks.nemo.evaluator import Evaluator
from blocks.nemo.http import NemoServices, services
from blocks.nemo.inference import Inference


class Parts:
    """All of the platform that one namespace sees."""

    def __init__(self, connection: NemoConnection, opened: NemoServices) -> None:
        self.namespace = namespace = connection.namespace
        self.waits = waits = connection.waits
        self.entities = EntityStore(opened.nemo, namespace)
        self.data = DataStore(opened.datastore, namespace, waits)
        self.inference = Inference(opened.nim, waits)
        self.deployments = Deployments(opened.nemo, self.inference, namespace, waits)
        self.configs = CustomizationConfigs(opened.nemo, namespace, waits)
        self.customizer = Customizer(opened.nemo, namespace, waits)
        self.evaluator = Evaluator(opened.nemo, namespace, waits)

    async def put_dataset(self, name: str, files: Mapping[str, Path], description: str) -> str:
        """Namespaces, files, registration; returns the dataset's URL. Safe to repeat."""
        await self.entities.ensure_namespace()
        await self.data.ensure_namespace()
        await self.data.upload(name, files)
        return await self.entities.register_dataset(name, description)

    async def delete_dataset(self, name: str) -> None:
        """Files first, then the registration; what is not there is no error."""
        await self.data.delete_repo(name)
        await self.entities.delete_dataset(name)


@asynccontextmanager
async def opened(connection: NemoConnection) -> AsyncIterator[Parts]:
    """Everything over one pool of connections, closed when the block ends."""
    async with services(connection) as three:
        yield Parts(connection, three)
