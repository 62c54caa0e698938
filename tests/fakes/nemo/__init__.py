"""The parts of a NeMo Microservices platform that keeps state in memory. `tests.fakes.nemo_server` serves them."""
