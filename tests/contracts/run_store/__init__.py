"""What every run store must do. A test module derives from the suite and provides the fixtures.

`store` is empty at the start of each test. `opening` is source code that opens the same store again in another
process: statements that leave it in the variable `store`.
"""

from tests.contracts.run_store.finding import FindsRuns
from tests.contracts.run_store.ledger import KeepsTheLedger
from tests.contracts.run_store.removal import RemovesRuns
from tests.contracts.run_store.saving import SavesRuns
from tests.contracts.run_store.sharing import IsShared
from tests.contracts.run_store.standing import KnowsHowRunsStand


class RunStoreContract(SavesRuns, FindsRuns, KeepsTheLedger, IsShared, KnowsHowRunsStand, RemovesRuns):
    """The suite."""
