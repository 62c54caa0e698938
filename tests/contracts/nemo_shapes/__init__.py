"""The shapes of the NeMo Microservices API (25.x, `/v1`) as far as the flywheel uses it.

Written down from the API's documentation, not from our client and not from the fake: every request that the client
sends and every body that the fake returns has to be of these shapes, with no field beside them.
"""

from tests.contracts.nemo_shapes.requirement import require_contract as require_contract
